"""Rows of JSONL and tables: a file of any size as a stream of Sources, and the Document of each.

A file is read once, in order, and of no row more is held than where it stands. Rows are parsed in this process: Python's
own `json`, and string searches for tables, take no more than a bounded multiple of a row, which has a bound itself.
"""

from pipeline.rows.documents import document
from pipeline.rows.index import Index
from pipeline.rows.listing import Columns, rows_of, with_rows
from pipeline.rows.piped import Piped

__all__ = ["Columns", "Index", "Piped", "document", "rows_of", "with_rows"]
