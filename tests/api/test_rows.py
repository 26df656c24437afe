"""Lists that go from the database to JSON without objects say what the serializers say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from activity.api.serializers import ActivitySerializer
from activity.models import Activity
from api.renderers import JSONRenderer
from registry.api.filters import BaseModelFilter
from registry.api.serializers import AdapterSerializer, BaseModelSerializer, DatasetSerializer
from registry.models import Adapter, BaseModel, Dataset
from tests.factories import make_activity, make_adapter, make_dataset, make_model

METADATA = {"config": {"n": [1, 2.5, None, "ü \u2028"]}, "large": 2**40, "empty": {}}
LISTS = [
    ("base-models", BaseModelSerializer, BaseModel),
    ("datasets", DatasetSerializer, Dataset),
    ("adapters", AdapterSerializer, Adapter),
    ("activity", ActivitySerializer, Activity),
]


@pytest.mark.parametrize(("path", "serializer", "rows"), LISTS)
def test_a_list_of_rows_equals_the_serializer(api, root, client_of, path, serializer, rows):
    model = make_model(name="one", metadata=METADATA, tags=["a", "b"], params_b=1.5)
    BaseModel.objects.create(name="of no project")
    make_dataset(name="three", metadata=METADATA, num_samples=7)
    make_adapter(model, target_modules=["q_proj"], metadata=METADATA)
    make_activity(metadata=METADATA, user=root)

    body = client_of(root).get(f"/api/{path}?limit=10").json()
    shown = body[next(iter(body))]

    instances = rows.objects.visible_to(root)
    if rows is Activity:
        instances = instances.with_read(root)
    expected = {row["id"]: row for row in written(serializer(list(instances), many=True))}
    assert len(shown) == len(expected) > 0
    for row in shown:
        assert row == expected[row["id"]]
        assert list(row) == list(expected[row["id"]])


def written(serializer: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(JSONRenderer().render(serializer.data))
    return rows


def test_whole_numbers_beyond_64_bits_are_written(api):
    model = make_model(metadata={"large": 2**70})
    assert api.get(f"/api/base-models/{model.pk}").json()["metadata"] == {"large": 2**70}
    (listed,) = api.get("/api/base-models").json()["models"]
    assert listed["metadata"] == {"large": 2**70}


def test_only_the_filters_that_are_asked_for_are_made():
    assert list(BaseModelFilter({"family": "llama"}).filters) == ["family"]
    assert len(BaseModelFilter().filters) > 5
