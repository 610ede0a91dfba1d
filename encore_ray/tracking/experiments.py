"""How an experiment is named, and what is said of one that takes no runs."""

ID_PREFIX = "id:"


def deleted(experiment: str) -> str:
    """That an experiment is deleted, and what to do."""
    return (
        f"the experiment {experiment} is deleted, so that it takes no runs. Restore it with `mlflow experiments "
        "restore`, or name another by tracking.experiment."
    )


def unknown_id(experiment: str) -> str:
    """That an id is of no experiment, and what to do."""
    return (
        f"there is no experiment with the id {experiment.removeprefix(ID_PREFIX)}. Set tracking.experiment to a name, "
        "which is made where it is missing, or correct MLFLOW_EXPERIMENT_ID."
    )
