"""The graph of log: whoever follows the lines with a finger finds each commit's parents.

`follow` reads the drawing alone. Promised is: a column for each commit, one row for each parent
after the first, and that every line ends at the right commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from treering.cli.graph import Graph

Dag = list[tuple[str, list[str]]]
"""Commits with their parents, children first."""


@st.composite
def dags(draw: st.DrawFn, most: int = 12) -> Dag:
    count = draw(st.integers(1, most))
    made: Dag = []
    for number in range(count):
        older = list(range(number + 1, count))
        some = st.lists(st.sampled_from(older), unique=True, max_size=4) if older else st.just([])
        made.append((str(number), [str(parent) for parent in draw(some)]))
    return made


def draw_all(dag: Dag, hidden: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """(row, commit on it or "") from top to bottom."""
    graph, rows = Graph(), []
    for commit, parents in dag:
        if commit in hidden:
            graph.skip(commit, parents)
            continue
        before, drawn = graph.add(commit, parents)
        rows += [(row, "") for row in before]
        head, *others = drawn.beside([""])
        rows.append((head, commit))
        rows += [(row, "") for row in others]
    return rows


def at(row: str, place: int) -> str:
    return row[place] if 0 <= place < len(row) else " "


def follow(rows: Sequence[tuple[str, str]], start: int, merges: int) -> set[str]:
    """The commits that lines from the commit in row `start` lead to."""
    column = rows[start][0].index("*") // 2
    found: set[str] = set()
    lines: set[tuple[int, bool]] = {(column, False)}
    for number in range(start + 1, len(rows)):
        row, commit = rows[number]
        moved: set[tuple[int, bool]] = set()
        for place, slanted in lines:
            sign = at(row, 2 * place)
            if sign == "*":
                found.add(commit)
            elif slanted and at(row, 2 * place - 1) == "/":
                moved.add((place - 1, True))
            elif sign == "|":
                moved.add((place, False))
            elif at(row, 2 * place - 1) == "/":
                moved.add((place - 1, True))
            elif at(row, 2 * place + 1) == "\\":
                moved.add((place + 1, False))
            if place == column and number - start <= merges:
                assert at(row, 2 * place + 1) == "\\"
                moved.add((place + 1, False))
        lines = moved
    assert not lines, "a line ends nowhere"
    return found


@given(dags())
def test_lines_lead_to_the_parents(dag: Dag) -> None:
    rows = draw_all(dag)
    assert [commit for _, commit in rows if commit] == [commit for commit, _ in dag]
    for commit, parents in dag:
        if not parents:
            continue  # what stands below it may be a new line
        start = next(number for number, row in enumerate(rows) if row[1] == commit)
        assert rows[start][0].count("*") == 1
        assert follow(rows, start, len(parents) - 1) == set(parents), "\n".join(
            f"{row:20} {name}" for row, name in rows
        )


@given(dags(), st.sets(st.integers(0, 11).map(str)))
def test_hidden_commits_stand_for_their_parents(dag: Dag, some: set[str]) -> None:
    parents_of = dict(dag)
    hidden = {commit for commit in some if len(parents_of.get(commit, ())) == 1}
    rows = draw_all(dag, frozenset(hidden))
    assert [commit for _, commit in rows if commit] == [c for c, _ in dag if c not in hidden]
    for commit, parents in dag:
        if parents and commit not in hidden:
            start = next(number for number, row in enumerate(rows) if row[1] == commit)
            expected = nearest(commit, parents_of, hidden)
            assert follow(rows, start, len(parents) - 1) == expected


def nearest(commit: str, parents_of: Mapping[str, Sequence[str]], hidden: set[str]) -> set[str]:
    found: set[str] = set()
    for parent in parents_of[commit]:
        found |= nearest(parent, parents_of, hidden) if parent in hidden else {parent}
    return found


@given(st.integers(1, 40))
def test_a_straight_line_needs_one_column(count: int) -> None:
    dag = [(str(n), [str(n + 1)] if n + 1 < count else []) for n in range(count)]
    assert {row for row, _ in draw_all(dag)} == {"*"}
