"""Folders as the publishers of data sets lay them out: the official lists, and files without content.

`data/hmdb51.tsv.xz` and `data/ucf101.tsv.xz` hold what the official split files say, a line a clip: HMDB51's action,
name and the codes of its three splits (CC BY 4.0, serre-lab.clps.brown.edu); UCF101's path, and 1 for train
or 2 for test.
"""

from __future__ import annotations

import lzma
from pathlib import Path

DATA = Path(__file__).parent / "data"
SCENES = {  # training and evaluation files of each scene in fold 1
    "airport": (697, 281),
    "bus": (806, 327),
    "metro": (893, 360),
    "metro_station": (893, 386),
    "park": (1006, 386),
    "public_square": (982, 387),
    "shopping_mall": (841, 387),
    "street_pedestrian": (968, 421),
    "street_traffic": (985, 402),
    "tram": (575, 308),
}
"""The counts of evaluation are the published ones, and those of training add up to the published 8,646."""


def table(name: str) -> list[list[str]]:
    """Return the rows of `data/<name>.tsv.xz`."""
    with lzma.open(DATA / f"{name}.tsv.xz", "rt", encoding="utf-8") as stream:
        return [line.rstrip("\n").split("\t") for line in stream]


def touch(*paths: Path) -> None:
    """Make empty files, and the folders that they are in."""
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.touch()


def hmdb51(root: Path) -> None:
    """Write the split files, each line ending in a space, and the clips."""
    splits = root / "testTrainMulti_7030_splits"
    splits.mkdir(parents=True)
    rows = table("hmdb51")
    for action in {row[0] for row in rows}:
        for k in range(3):
            lines = [f"{name} {codes[k]} \n" for theirs, name, codes in rows if theirs == action]
            (splits / f"{action}_test_split{k + 1}.txt").write_text("".join(lines), encoding="utf-8")
    touch(*(root / "hmdb51_org" / action / name for action, name, _ in rows))


def ucf101(root: Path) -> None:
    """Write the lists, lines ending in CR LF, and the clips."""
    rows = table("ucf101")
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    numbers = {name: number for number, name in enumerate(sorted({path.split("/")[0] for path, _ in rows}), 1)}

    def write(name: str, lines: list[str]) -> None:
        (lists / name).write_bytes("".join(f"{line}\r\n" for line in lines).encode())

    write("classInd.txt", [f"{number} {name}" for name, number in numbers.items()])
    for k in range(3):
        train = [f"{path} {numbers[path.split('/')[0]]}" for path, codes in rows if codes[k] == "1"]
        write(f"trainlist0{k + 1}.txt", train)
        write(f"testlist0{k + 1}.txt", [path for path, codes in rows if codes[k] == "2"])
    touch(*(root / "UCF-101" / path for path, _ in rows))


def tau2021(root: Path, share: float = 1.0) -> None:
    """Write the fold, and the recordings: 8,646 and 3,645, or a share of them, twenty a location."""
    base = root / "TAU-urban-audio-visual-scenes-2021-development"
    setup = base / "evaluation_setup"
    setup.mkdir(parents=True)
    location = 0
    for part, name in enumerate(("fold1_train.csv", "fold1_evaluate.csv")):
        lines = ["filename_audio\tfilename_video\tscene_label"]
        for scene, counts in SCENES.items():
            for i in range(max(round(counts[part] * share), 1)):
                location += i % 20 == 0
                stem = f"{scene}-lisbon-{location}-{i}"
                lines.append(f"audio/{stem}.wav\tvideo/{stem}.mp4\t{scene}")
                touch(base / f"audio/{stem}.wav", base / f"video/{stem}.mp4")
        (setup / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def cmu11775(root: Path) -> None:
    """Write the labels of 7,500 videos, the list of 749 others, and the videos."""
    names = [f"HW0000{number:04d}" for number in range(8249)]
    (root / "labels").mkdir(parents=True)
    rows = [f"{name},{number % 15}" for number, name in enumerate(names[:7500])]
    (root / "labels" / "train_val.csv").write_text("\n".join(["Id,Category", *rows]) + "\n", encoding="utf-8")
    rows = [f"{name},0" for name in names[7500:]]
    (root / "labels" / "test_for_students.csv").write_text("\n".join(["Id,Category", *rows]) + "\n", encoding="utf-8")
    touch(*(root / "videos" / f"{name}.mp4" for name in names))
