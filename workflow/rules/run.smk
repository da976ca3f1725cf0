"""What happens around the jobs of a run: settings are checked, the run is written down and followed."""


def untried(section, wildcard, folder):
    """Return the entries of `section` that this run has jobs of, or that have no results; others have worked before."""
    planned = {job.wildcards_dict.get(wildcard) for job in workflow.dag.needrun_jobs()}
    return {
        name: settings
        for name, settings in CONFIG[section].items()
        if name in planned or not Path(RESULTS, folder, name).exists()
    }


def check_settings():
    """Ask the libraries about settings before the first job. They take seconds to import, so a parse does not."""
    from braid.extractors.check import check_extractors
    from braid.report.published import read

    try:
        read(CONFIG)
        if backbones := untried("backbones", "backbone", "backbones"):
            from braid.backbones.check import check_backbones

            check_backbones(backbones)
        check_extractors(untried("extractors", "extractor", "features"))
    except BraidError as error:
        raise WorkflowError(str(error))


def start_run():
    """Write down that this run starts; it is refused while SLURM has jobs of an earlier one."""
    try:
        # The name that the executor for SLURM gives to all its jobs; other executors have none.
        runs.start(RESULTS, getattr(workflow.scheduler._executor, "run_uuid", ""))
    except BraidError as error:
        raise WorkflowError(str(error))


def follow_run():
    """Say how far the run is as its jobs come and go, and write it down for `braid status`."""
    from snakemake.logging import logger

    from braid.media.problems import collect

    items = INDEX.items()
    place = {rule.name: position for position, rule in enumerate(workflow.rules)}
    planned = [(job.rule.name, job.wildcards_dict) for job in workflow.dag.needrun_jobs() if job.output]
    progress = Progress(
        RESULTS,
        planned=sorted(planned, key=lambda job: place[job[0]]),
        clips=dict(items.group_by("shard").agg(pl.col("clip").n_unique()).iter_rows()),
        problems=lambda path: len(collect([Path(path)], items)),
    )
    logger.addHandler(progress)


def end_run():
    """Write down that the run came to its end, and say what failed."""
    from snakemake.logging import logger

    for handler in [each for each in logger.handlers if isinstance(each, Progress)]:
        handler.end()
    runs.end(RESULTS)
    gc.freeze()  # as in braid.logs: what checked the settings has imported much


onstart:
    check_settings()
    start_run()
    INDEX.save()
    follow_run()


onsuccess:
    end_run()


onerror:
    end_run()
