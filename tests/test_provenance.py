import pytest

from emotion_ray.data.prepared import write_record
from emotion_ray.data.provenance import RAVDESS, Provenance, read_provenance
from emotion_ray.data.storage import Folder

ZENODO = {"source": "zenodo", "base_url": "https://zenodo.org"}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"settings": {"source": "zenodo", "base_url": "https://zenodo.org"}}, RAVDESS),
        ({"settings": {"source": "zenodo", "base_url": "https://zenodo.org/"}}, RAVDESS),
        ({"settings": {"source": "zenodo", "base_url": "http://there"}}, Provenance("takes from there")),
        ({"settings": {"source": "/home/someone/clinic/"}}, Provenance("videos of clinic")),
        ({"settings": {"source": "."}}, Provenance("videos of .")),
        (
            {
                "settings": {"source": "x"},
                "sources": [ZENODO, {"source": "/a/b.csv", "base_url": "https://zenodo.org"}],
            },
            Provenance("RAVDESS and videos of b.csv", licence="RAVDESS: CC BY-NC-SA 4.0; videos of b.csv: not stated"),
        ),
        ({"sources": [ZENODO, {"source": "zenodo", "base_url": "https://zenodo.org/"}]}, RAVDESS),
        (
            {"data": {"name": "demo", "synthetic": True, "licence": "public domain"}, "settings": {}},
            Provenance("demo", True, "public domain"),
        ),
        ({}, Provenance("unknown data")),
    ],
)
def test_the_record_of_the_clips_tells_the_data(tmp_path, record, expected):
    write_record(Folder.at(tmp_path), record)
    assert read_provenance(Folder.at(tmp_path)) == expected


def test_clips_without_a_record_are_of_unknown_data(tmp_path):
    assert read_provenance(Folder.at(tmp_path)) == Provenance("unknown data")
