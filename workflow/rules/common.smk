"""Functions that rules use: the config, the index of the manifest, and what each job depends on."""

import gc
import os
import shlex
import sys
from functools import cache
from pathlib import Path

import polars as pl
from snakemake.exceptions import WorkflowError

from braid import config as configs
from braid import index, manifest, media, metrics, weights
from braid import report as reports
from braid.backbones.registry import ORDER_TEST_VERSION, sources
from braid.backbones.registry import REGISTRY as BACKBONES
from braid.errors import BraidError
from braid.extractors.registry import REGISTRY as EXTRACTORS
from braid.flow.registry import REGISTRY as FLOW_METHODS
from braid.report.examples import choose, flow_methods
from braid.runs import record as runs
from braid.runs.progress import Progress
from braid.schemes.registry import REGISTRY as SCHEMES
from braid.schemes.registry import WORTH_VERSION

# Idle threads of OpenMP that spin for long cost several times the work itself when jobs share cores; those of GNU that do
# not spin at all make small networks take 1.7 times as long (benchmarks/spin.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# What is imported by now stays, and so do the million objects that Snakemake makes of a large data set: to look through
# them less often makes its dry run a sixth shorter.
gc.freeze()
gc.set_threshold(50_000)

# Snakemake writes this path as it is into shell commands, which a space in the folder's name would break.
sys.executable = shlex.quote(sys.executable)

try:
    for path in workflow.configfiles:
        configs.refuse_keys_twice(path)
    CONFIG = configs.load(config)
    RESULTS = f"results/{CONFIG['name']}"
    # A run writes the index when it starts (`onstart`), and its jobs read that: an edit of the manifest, and a dry
    # run after it, wait for the next run.
    if workflow.is_main_process:
        INDEX = index.examine(Path(CONFIG["manifest"]), Path(RESULTS, "index"))
        if not CONFIG["allow_outside"]:
            manifest.check_inside(INDEX.items(), CONFIG["manifest"])
    else:
        INDEX = index.load(Path(RESULTS, "index"))
    FOLDS = configs.folds(CONFIG, INDEX.splits)
    configs.check_classes(CONFIG, INDEX.classes)
except BraidError as error:
    raise WorkflowError(str(error))

DECODED = f"{RESULTS}/decoded/{{shard}}.zarr.zip"
FLOW = f"{RESULTS}/flow/{{method}}/{{shard}}.zarr.zip"
EXAMPLES = f"{RESULTS}/flow/{{method}}/examples.json"
CLIPS = f"{RESULTS}/clips/clips.json"
RECEIPT = f"{RESULTS}/weights/{{section}}/{{entry}}.json"
FEATURES = f"{RESULTS}/features/{{extractor}}/{{shard}}.h5"
FOLD_FEATURES = f"{RESULTS}/features/{{extractor}}/fold{{fold}}/{{shard}}.h5"
DESCRIPTORS = f"{RESULTS}/descriptors/{{extractor}}/{{shard}}.h5"
WORDS = f"{RESULTS}/words/{{extractor}}/fold{{fold}}.npz"
BACKBONE = f"{RESULTS}/backbones/{{backbone}}/fold{{fold}}"
SWEEP = f"{RESULTS}/schemes/{{scheme}}/fold{{fold}}"
SCHEME = f"{SWEEP}/seed{{seed}}"

FITTED = [name for name, settings in CONFIG["extractors"].items() if EXTRACTORS[settings["type"]].fitted]
"""Extractors that learn from the training items of a fold, so that each fold has its own features."""

TRAINED = [name for name, settings in CONFIG["extractors"].items() if settings["type"] == "backbone"]
"""Those among them that are backbones."""

PRETRAINED = [
    (section, name)
    for section in ("flow", "backbones", "extractors")
    for name, settings in CONFIG[section].items()
    if weights.is_fetched(settings)
]
"""What needs official files, by section of the config and name; a receipt says what they are."""


wildcard_constraints:
    shard="[A-Za-z0-9][A-Za-z0-9_-]*",
    method="[A-Za-z0-9][A-Za-z0-9_-]*",
    backbone="[A-Za-z0-9][A-Za-z0-9_-]*",
    extractor="[A-Za-z0-9][A-Za-z0-9_-]*",
    scheme="[A-Za-z0-9][A-Za-z0-9_-]*",
    fold="[1-9][0-9]*",
    seed="[0-9]+",


def growing(amount):
    """Return what a job asks for: `amount`, and as much again with each further attempt (`retries` of the profile)."""
    return lambda wildcards, attempt: amount * attempt


def feature_source(wildcards):
    """Return the shard that an extractor reads: flow where its settings name a flow pass, else decoded clips."""
    method = CONFIG["extractors"][wildcards.extractor].get("flow")
    return FLOW.format(method=method, shard=wildcards.shard) if method else DECODED.format(shard=wildcards.shard)


def backbone_shards(wildcards):
    """Return what a backbone reads, by kind of shard: an extractor on it one of each, its training those of all clips."""
    name = wildcards.get("backbone") or CONFIG["extractors"][wildcards.extractor]["backbone"]
    settings = CONFIG["backbones"][name]
    patterns = {"decoded": DECODED, "flow": FLOW}
    shards = wildcards.get("shard") or INDEX.shards
    return {kind: expand(patterns[kind], method=settings.get("flow"), shard=shards) for kind in sources(settings)}


def receipt(section, wildcard):
    """Return a function of the wildcards: the receipt of official files, where any are needed."""

    def path(wildcards):
        name = getattr(wildcards, wildcard)
        return RECEIPT.format(section=section, entry=name) if (section, name) in PRETRAINED else []

    return path


def weights_settings(wildcards):
    """Return the settings that official weights may follow from; what training does with them is not among these."""
    settings = CONFIG[wildcards.section][wildcards.entry]
    keys = ("type", "architecture", "weights") if wildcards.section == "backbones" else settings.keys() - {"batch_size"}
    return {key: value for key, value in settings.items() if key in keys}


def weights_identity(section, wildcard):
    """Return a function of the wildcards: what tells weights apart; of official ones the receipt, an input, does it."""

    def identity(wildcards):
        try:
            return weights.identity(CONFIG[section][getattr(wildcards, wildcard)])
        except BraidError as error:
            raise WorkflowError(str(error))

    return identity


@cache
def examples():
    """Return the clips that may stand for their class in pictures: label, shard, clip, video."""
    return choose(INDEX.items())


def example_shards():
    """Return the shards that these clips are in."""
    return sorted({example["shard"] for example in examples()})


def features_of(extractor, fold):
    """Return the feature shards of an extractor: those for a fold, or for some, where each fold has its own."""
    pattern = FOLD_FEATURES if extractor in FITTED else FEATURES
    return expand(pattern, extractor=extractor, fold=fold, shard=INDEX.shards)


def of_seeds(name):
    """Return the pattern of a file that a scheme has of each seed. One job makes all: most are shorter than a start."""
    return expand(f"{SCHEME}/{name}", seed=CONFIG["seeds"], allow_missing=True)


def scheme_inputs(wildcards):
    """Return what a scheme reads: feature shards, extractor by extractor, or the predictions of other schemes."""
    entry = CONFIG["schemes"][wildcards.scheme]
    if "schemes" in entry:
        return expand(of_seeds("predictions.h5"), scheme=entry["schemes"], fold=wildcards.fold)
    return [path for name in entry["features"] for path in features_of(name, wildcards.fold)]


def chosen_point(wildcards):
    """Return what the sweep of a scheme has chosen, where it has one."""
    return rules.sweep_scheme.output.chosen if CONFIG["schemes"][wildcards.scheme].get("sweep") else []


def one_of(names):
    """Return the wildcard constraint that just these names fulfil."""
    return "|".join(names) or "(?!)"


def extractor_settings(*keys):
    """Return a function of the wildcards: these settings of the extractor, and no others."""
    return lambda wildcards: {key: CONFIG["extractors"][wildcards.extractor][key] for key in keys}


def setting(section, wildcard, without=()):
    """Return a function of the wildcards: the settings under `section` that the wildcard names."""
    return lambda wildcards: {
        key: value for key, value in CONFIG[section][getattr(wildcards, wildcard)].items() if key not in without
    }


def batch_size(section, wildcard):
    """Return a function of the wildcards: how much shares a pass, 0 for auto; a resource, so a change reruns nothing."""

    def size(wildcards):
        wanted = CONFIG[section][getattr(wildcards, wildcard)].get("batch_size", "auto")
        return 0 if wanted == "auto" else wanted

    return size


def version(section, registry, wildcard):
    """Return a function of the wildcards: the version of the numbers that the named entry's type gives."""
    return lambda wildcards: registry[CONFIG[section][getattr(wildcards, wildcard)]["type"]].version
