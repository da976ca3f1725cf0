"""The official weights that each family knows, and the command that shows, fetches and verifies them."""

import re

import pytest
import yaml
from publisher import publishing

from braid import config, weights
from braid.cli import main
from braid.errors import WeightsError
from braid.weights import catalogue, choice, clip, gmflow, huggingface, openl3, passt, timm, torchvision, x3d
from braid.weights.record import Weights, is_non_commercial

KINETICS = {
    "r2plus1d_18": "91a641e6",
    "r3d_18": "b3b3357e",
    "mc3_18": "a90a0ba3",
    "s3d": "d76dad2f",
    "mvit_v1_b": "dbeb1030",
    "mvit_v2_s": "ae3be167",
    "swin3d_t": "7615ae03",
    "swin3d_s": "da41c237",
    "swin3d_b": "24f7c7c6",
}


def named(name: str) -> dict[str, str]:
    return {"architecture": name}


@pytest.mark.parametrize(("name", "digest"), KINETICS.items())
def test_video_networks_of_torchvision(name, digest):
    official = torchvision.video(named(name))
    assert official.sha256 == digest and official.url == f"https://download.pytorch.org/models/{official.file}"
    assert official.size_bytes is not None and 30e6 < official.size_bytes < 400e6
    assert official.citation != torchvision.TORCHVISION


def test_flow_starts_from_the_rgb_weights():
    assert torchvision.r2plus1d({"type": "flow_r2plus1d"}) == torchvision.video(named("r2plus1d_18"))


@pytest.mark.parametrize(("name", "digest"), [("raft_large", "ff5fadd5"), ("raft_small", "01064c6d")])
def test_raft(name, digest):
    assert torchvision.flow(named(name)).sha256 == digest
    with pytest.raises(WeightsError, match="raft_large"):
        torchvision.flow(named("r2plus1d_18"))


def test_frame_networks_of_torchvision_have_their_default_weights():
    assert torchvision.frames(named("resnet152")).file == "resnet152-f82ba261.pth"  # IMAGENET1K_V2
    assert torchvision.frames(named("convnext_base")).sha256 == "6075fbad"
    assert torchvision.frames(named("vit_h_14")).non_commercial  # SWAG
    with pytest.raises(WeightsError, match="resnet153"):
        torchvision.frames(named("resnet153"))
    with pytest.raises(WeightsError, match=r"resnet152.*r2plus1d_18"):
        torchvision.video(named("resnet152"))


def test_timm_by_release_or_hugging_face():
    released = timm.official(named("regnety_064.ra3_in1k"))
    assert (released.file, released.sha256) == ("regnety_064_ra3-aa26dc7d.pth", "aa26dc7d")
    assert timm.official(named("regnety_064")) == released  # its default tag
    hosted = timm.official(named("hrnet_w18.ms_aug_in1k"))
    assert hosted.url == "https://huggingface.co/timm/hrnet_w18.ms_aug_in1k/resolve/main/model.safetensors"
    assert (hosted.file, hosted.licence) == ("timm--hrnet_w18.ms_aug_in1k/model.safetensors", "mit")
    assert timm.official(named("convnextv2_base.fcmae")).non_commercial
    for unknown in ("regnety_064.nonesuch", "nonesuch", "test_vit4"):
        with pytest.raises(WeightsError, match=unknown):
            timm.official(named(unknown))


def test_no_two_files_of_timm_have_the_same_name():
    from timm import list_pretrained

    places: dict[str, set[str]] = {}
    for name in list_pretrained():
        official = timm.official(named(name))
        places.setdefault(official.file, set()).add(official.url)
    assert len(places) > 1000
    assert {file: urls for file, urls in places.items() if len(urls) > 1} == {}


def test_no_two_files_of_open_clip_have_the_same_name():
    import open_clip

    places: dict[str, set[str]] = {}
    for name, tag in open_clip.list_pretrained():
        try:
            official = clip.official({"architecture": name, "pretrained_tag": tag})
        except WeightsError as error:
            assert "QuickGELU" in str(error)
            continue
        assert official.licence and official.citation
        places.setdefault(official.file, set()).add(official.url)
    assert len(places) > 80
    assert {file: urls for file, urls in places.items() if len(urls) > 1} == {}


@pytest.mark.parametrize("name", ["ViT-B-32", "RN101", "RN50x4"])
def test_openais_own_files(name):
    official = clip.official(named(f"{name}-quickgelu"))
    assert official.file == f"clip-{name}.pt" and len(official.sha256) == 64 and official.sha256 in official.url


def test_quickgelu_is_not_mixed_with_gelu():
    assert "openai" not in clip.official(named("ViT-B-32")).url
    for settings in (named("RN101"), {"architecture": "ViT-B-32", "pretrained_tag": "openai"}):
        with pytest.raises(WeightsError, match=f"{settings['architecture']}-quickgelu"):
            clip.official(settings)


def test_open_clip_by_name_and_tag():
    siglip = clip.official(named("ViT-B-16-SigLIP2"))
    assert siglip.url == "https://huggingface.co/timm/ViT-B-16-SigLIP2/resolve/main/open_clip_model.safetensors"
    assert siglip.licence == clip.official({**named("PE-Core-B-16"), "pretrained_tag": None}).licence == "Apache-2.0"
    assert clip.official({**named("ViT-B-32-quickgelu"), "pretrained_tag": "metaclip_400m"}).non_commercial
    for settings in (named("ViT-B-33"), {**named("ViT-B-32"), "pretrained_tag": "nonesuch"}):
        with pytest.raises(WeightsError, match="open_clip has no"):
            clip.official(settings)


@pytest.mark.parametrize("name", x3d.ARCHITECTURES)
def test_x3d(name):
    assert x3d.official(named(name)).url.endswith(f"/kinetics/X3D_{name.upper()}.pyth")


@pytest.mark.parametrize("stream", [openl3.audio, openl3.image])
def test_openl3(stream):
    official = stream({"input": "mel256", "content": "env"})
    assert official.url == f"https://github.com/marl/openl3/raw/models/{official.file}"
    assert official.file == f"openl3_{stream.__name__}_mel256_env-v0_4_0.h5.gz" and official.licence == "CC-BY-4.0"


def test_video_models_of_hugging_face_come_with_their_configs():
    videomae = huggingface.video(named("MCG-NJU/videomae-base"))
    assert videomae.non_commercial and videomae.licence == "CC-BY-NC-4.0"
    assert [each.file for each in videomae.files] == [
        f"MCG-NJU--videomae-base/{file}" for file in ("model.safetensors", "config.json", "preprocessor_config.json")
    ]
    vjepa = huggingface.video(named("facebook/vjepa2-vitl-fpc64-256"))
    assert vjepa.licence == "MIT" and not vjepa.non_commercial
    assert vjepa.companions[1].url.endswith("/resolve/main/video_preprocessor_config.json")
    assert huggingface.video(named("facebook/timesformer-base-finetuned-k400")).non_commercial
    assert "https://huggingface.co/some/body" in huggingface.video(named("some/body")).licence
    with pytest.raises(WeightsError, match="organisation/name"):
        huggingface.video(named("../videomae"))


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        (passt.official, named("nonesuch")),
        (gmflow.network, {"architecture": "gmflow", "trained_on": "nonesuch"}),
        (x3d.official, named("xl")),
        (openl3.audio, {"input": "mel512", "content": "env"}),
        (openl3.image, {"input": "mel256", "content": "speech"}),
    ],
)
def test_unknown_architectures_are_refused_with_a_choice(function, settings):
    with pytest.raises(WeightsError, match="choose from"):
        function(settings)


def test_every_flow_network_that_a_config_can_name_has_official_weights():
    architectures, data = (
        config.types("flow")["gmflow"]["properties"][key]["enum"] for key in ("architecture", "trained_on")
    )
    assert {(architecture, each) for architecture in architectures for each in data} == set(gmflow.URLS)


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "cc-by-nc-sa-4.0", "fair-noncommercial-research-license"])
def test_non_commercial_licences(licence):
    assert is_non_commercial(licence)
    assert not any(map(is_non_commercial, ("Apache-2.0", "mit", "cc-by-4.0", "dinov3-license", "apple-ascl")))


def test_everything_listed_leads_somewhere():
    known = list(catalogue.listed())
    assert {name.partition("/")[0] for name in known} == set(choice.OFFICIAL)
    for name in known:
        settings = catalogue.settings_of(name)
        assert catalogue.name_of(settings) == name
        for official in weights.official(settings).files:
            assert official.url.startswith("https://") and official.licence and official.citation
            assert re.fullmatch(r"[0-9a-f]*", official.sha256) and len(official.sha256) in (0, 8, 64)
            assert re.fullmatch(r"([\w.-]+/)?[\w.-]+", official.file)


@pytest.fixture
def offered(monkeypatch, tmp_path):
    """The official weights of PaSST come from a server on this machine."""
    monkeypatch.setenv("BRAID_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("BRAID_OFFLINE", raising=False)
    with publishing(b"network" * 1000) as publisher:
        monkeypatch.setattr(
            passt, "official", lambda settings: Weights("net.pth", publisher.url, publisher.sha256[:8], "MIT", "Nobody")
        )
        yield publisher


NAME = "passt/passt_s_p16_s16_128_ap468"


def test_list_fetch_verify(offered, capsys, tmp_path):
    assert main(["weights", "list", NAME]) == 0
    assert re.search(rf"{NAME} +no +net\.pth +MIT +{offered.url}", capsys.readouterr().out)
    assert main(["weights", "verify", NAME]) == 2
    assert "net.pth is missing" in capsys.readouterr().err
    assert main(["weights", "fetch", NAME]) == 0
    assert offered.sha256 in capsys.readouterr().out
    assert main(["weights", "verify", NAME]) == 0
    assert main(["weights", "list", NAME]) == 0
    assert re.search(rf"{NAME} +yes +0 +net\.pth", capsys.readouterr().out)
    (tmp_path / "cache" / "net.pth").write_bytes(b"cut")
    assert main(["weights", "verify", NAME]) == 2
    assert "published one" in capsys.readouterr().err


def test_a_file_whose_companion_is_not_here_is_verified_too(offered, capsys, tmp_path, monkeypatch):
    config = Weights("net.json", offered.url, "", "MIT", "Nobody")
    official = Weights("net.pth", offered.url, offered.sha256[:8], "MIT", "Nobody", companions=(config,))
    monkeypatch.setattr(passt, "official", lambda settings: official)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "net.pth").write_bytes(b"cut")
    assert main(["weights", "verify"]) == 2
    assert "published one" in capsys.readouterr().err


def test_everything_that_a_config_needs(offered, capsys, tmp_path):
    config = {
        "name": "mine",
        "manifest": "clips.tsv",
        "extractors": {
            "sound": {"type": "passt"},
            "again": {"type": "passt", "mode": "all"},
            "trial": {"type": "clip", "weights": "random"},
        },
        "schemes": {"sound": {"type": "single", "features": ["sound"]}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    assert main(["weights", "fetch", "--config", str(tmp_path / "mine.yaml")]) == 0
    assert len(offered.asked) == 1
    assert capsys.readouterr().out.count(offered.sha256) == 1
    assert main(["weights", "fetch", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err


def test_a_backbone_of_a_config_needs_its_weights_too(capsys, tmp_path, monkeypatch):
    config = {
        "name": "mine",
        "manifest": "clips.tsv",
        "backbones": {"trained": {"type": "x3d"}},
        "extractors": {"trained": {"type": "backbone", "backbone": "trained"}},
        "schemes": {"trained": {"type": "scores", "features": ["trained"]}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("BRAID_WEIGHTS", str(tmp_path))
    assert main(["weights", "list", "--config", str(tmp_path / "mine.yaml")]) == 0
    assert "x3d/xs" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["fetch"], ["list", "nonesuch/x"], ["list", "passt"], ["verify", "sift/x"]])
def test_what_cannot_be_meant_is_refused(words, offered, capsys):
    assert main(["weights", *words]) == 2
    assert "<type>/<architecture>" in capsys.readouterr().err
