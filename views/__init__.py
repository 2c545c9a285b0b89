"""Room ``views`` of Kyphos: how it looks. Reads saved results only, draws without a screen."""

if __name__ != "kyphos.views":
    raise ImportError("import kyphos.views, not views: two copies of a class would not match")

from kyphos.views.pictures import make_pictures
from kyphos.views.reading import read_run, read_stage
from kyphos.views.report import write_report

__all__ = ["make_pictures", "read_run", "read_stage", "write_report"]
