"""What `autowu replay -o` writes: the report's page of a record that was replayed, or a picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autowu.offline.decide import Decided
from autowu.offline.what_if import Case
from autowu.report import output, picture, what_if_figure
from autowu.report.replayed import run_of


def check(path: Path) -> None:
    """See before any work that ``path`` can be written, in the form that its suffix says.

    Raises:
        UserError: it cannot, or the suffix stands for no form.
        ImportError: a library of the extra ``report`` is not installed.
    """
    output.check(path, output.form_of(path))


def write(path: Path, decided: Decided, cases: Sequence[Case]) -> None:
    """Write ``path``, in the form that its suffix says.

    A page has everything; a picture shows the other settings if there are ``cases``, else the sweep if it is
    one, else the run.

    Raises:
        UserError: the file cannot be written.
        ImportError: a library of the extra ``report`` is not installed.
    """
    form, of = output.form_of(path), decided.range_test
    if form == "html":
        more = [what_if_figure.section(cases)] if cases else []
        output.write_page(path, lambda: [run_of(decided)], more)
    elif cases:
        output.write_picture(path, form, lambda: picture.what_if(cases))
    elif of is not None:
        output.write_picture(path, form, lambda: picture.sweep(of, decided.record.losses))
    else:
        output.write_picture(path, form, lambda: picture.main([run_of(decided)]))
