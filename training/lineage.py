"""Where a model comes from and what has come of it, as a picture: base model, job with its dataset,
result, further jobs. Pure but for `of_model`, which looks for the rows.

Columns from left to right are generations. What there is more of than fits is named as a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from registry.models import Adapter, BaseModel
from training.models import Job

MOST_ANCESTORS = 6
MOST_JOBS = 8
WIDTH, HEIGHT = 190, 54
ACROSS, DOWN = 50, 18


@dataclass
class Node:
    """One box. ``kind`` is the word above its name."""

    kind: str
    name: str
    link: str = ""
    tone: str = ""
    column: int = 0
    row: int = 0
    is_here: bool = False

    @property
    def x(self) -> int:
        return self.column * (WIDTH + ACROSS)

    @property
    def y(self) -> int:
        return self.row * (HEIGHT + DOWN)

    @property
    def short(self) -> str:
        return self.name if len(self.name) <= 23 else f"{self.name[:22]}…"


@dataclass
class Picture:
    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[Node, Node]] = field(default_factory=list)

    @property
    def width(self) -> int:
        return max((node.x for node in self.nodes), default=0) + WIDTH

    @property
    def height(self) -> int:
        return max((node.y for node in self.nodes), default=0) + HEIGHT

    @property
    def paths(self) -> list[str]:
        """From the right edge of one box to the left edge of the next."""
        found = []
        for begin, end in self.edges:
            x1, y1 = begin.x + WIDTH, begin.y + HEIGHT / 2
            x2, y2 = end.x, end.y + HEIGHT / 2
            half = (x1 + x2) / 2
            found.append(f"M{x1:g} {y1:g} C{half:g} {y1:g} {half:g} {y2:g} {x2:g} {y2:g}")
        return found

    def add(self, node: Node, *before: Node) -> Node:
        self.nodes.append(node)
        self.edges += [(one, node) for one in before]
        return node


def of_model(model: BaseModel, user: Any) -> Picture | None:
    """None for a model that comes from nothing here, and of which nothing has come."""
    picture = Picture()
    here = _ancestors(picture, model, user)
    here.is_here = True
    _descendants(picture, model, here, user)
    return picture if picture.edges else None


def _ancestors(picture: Picture, model: BaseModel, user: Any) -> Node:
    """The chain that leads to the model, oldest first; its own node."""
    chain: list[tuple[Job | None, BaseModel]] = []
    seen: set[UUID] = set()
    now: BaseModel | None = model
    while now is not None and now.pk not in seen and len(chain) <= MOST_ANCESTORS:
        seen.add(now.pk)
        job = _maker(now, user)
        chain.append((job, now))
        now = job.experiment.base_model if job is not None else None
    last: Node | None = None
    for column, (job, one) in enumerate(reversed(chain)):
        place = 2 * column
        if job is not None and last is not None:
            data = job.experiment.dataset
            dataset = picture.add(
                Node("Dataset", str(data), f"/datasets/{data.pk}", column=place - 2, row=1)
            )
            last = picture.add(_job_node(job, place - 1, 0), last, dataset)
        node = Node("Base model", one.name, f"/models/{one.pk}", column=place)
        last = picture.add(node, *([last] if last else []))
    assert last is not None
    return last


def _maker(model: BaseModel, user: Any) -> Job | None:
    """The job whose result it is."""
    try:
        pk = UUID(str(model.metadata.get("job_id")))
    except ValueError:
        return None
    found: Job | None = (
        Job.objects.visible_to(user)
        .select_related("experiment__base_model", "experiment__dataset")
        .filter(pk=pk)
        .first()
    )
    return found


def _descendants(picture: Picture, model: BaseModel, here: Node, user: Any) -> None:
    visible = Job.objects.visible_to(user).filter(experiment__base_model=model)
    jobs = list(visible.select_related("experiment__dataset")[: MOST_JOBS + 1])
    made = _results(jobs[:MOST_JOBS], user)
    for row, job in enumerate(jobs[:MOST_JOBS]):
        node = picture.add(_job_node(job, here.column + 1, row), here)
        result = made.get(job.pk)
        if result is not None:
            kind = "Adapter" if isinstance(result, Adapter) else "Base model"
            link = f"/{'adapters' if kind == 'Adapter' else 'models'}/{result.pk}"
            picture.add(Node(kind, result.name, link, column=here.column + 2, row=row), node)
    if len(jobs) > MOST_JOBS:
        link = f"/jobs?model={model.pk}"
        more = Node("Jobs", "and more", link, column=here.column + 1, row=MOST_JOBS)
        picture.add(more, here)


def _results(jobs: Sequence[Job], user: Any) -> dict[Any, BaseModel | Adapter]:
    """What these jobs have made, by job; in one query of each kind."""
    ids: dict[str, dict[str, Any]] = {"base_model": {}, "adapter": {}}
    for job in jobs:
        if job.result is not None:
            ids[job.result["kind"]][job.result["id"]] = job.pk
    found: dict[Any, BaseModel | Adapter] = {}
    for kind, model in (("base_model", BaseModel), ("adapter", Adapter)):
        if ids[kind]:
            rows = model.objects.visible_to(user).filter(pk__in=list(ids[kind]))
            found |= {ids[kind][str(row.pk)]: row for row in rows.only("name")}
    return found


def _job_node(job: Job, column: int, row: int) -> Node:
    return Node("Job", job.name, f"/jobs/{job.pk}", tone=job.status, column=column, row=row)
