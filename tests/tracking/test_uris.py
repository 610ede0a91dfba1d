"""Default stores, and how they are opened."""

from encore_ray.storage import Folder
from encore_ray.tracking.uris import artifact_root, default_uri, how_to_open


def test_the_default_store_lies_beside_a_local_run_folder_by_absolute_path():
    assert default_uri(Folder("/data/runs/one")) == "sqlite:////data/runs/mlflow.db"


def test_a_remote_run_folder_has_no_default_store():
    assert default_uri(Folder("memory://bucket/run")) is None


def test_artifacts_of_a_database_lie_beside_it_and_a_server_places_its_own():
    assert artifact_root("sqlite:////data/runs/mlflow.db") == "/data/runs/mlartifacts"
    assert artifact_root("http://server:5000") is None


def test_a_database_is_opened_by_a_command_and_a_server_by_its_address():
    opened = how_to_open("sqlite:////a b/mlflow.db")
    assert opened.endswith("mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'")
    assert how_to_open("http://me:pass@host:5000") == "http://host:5000/#/experiments?workflowType=machine_learning"
