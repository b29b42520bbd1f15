"""Make the tables of docs/explanation/faults.rst from what tests saw, or compare them with it.

    python tests/faults/tables.py REPORT FOLDER

The report is the JUnit file of a run of everything below tests/faults and of the tests that play
OpenRouter over sockets. Each table is a CSV file in the folder; FAULTS_TABLES names another folder
to which they are written instead. Standard library only.
"""

import csv
import difflib
import io
import json
import os
import sys
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

HEADER = ("Request", "Where", "What breaks", "Told", "Stored", "Exchanges", "The same again")
ANSWERS = ("Cases", "What holds", "Told")
RESULT = ("told", "stored", "exchanges", "again")


def properties(report, name):
    """Return what tests recorded under a name, in their order, each once."""
    found = ET.parse(report).iter("property")
    return list(dict.fromkeys(item.get("value") for item in found if item.get("name") == name))


def spans(cases):
    """Return first and last place of each run of one fault in which all went the same way.

    Args:
        cases: those of one request, as they were recorded.
    """
    for fault in dict.fromkeys(case["fault"] for case in cases):
        same = [case for case in cases if case["fault"] == fault]
        ordered = sorted(same, key=lambda case: case["place"][0] or 0)
        for _, run in groupby(ordered, alike):
            together = list(run)
            yield fault, together[0], together[-1]


def alike(case):
    """Return what cases in a row have in common that share a row of the table."""
    number, name = case["place"]
    # Places without a number are no steps of one request.
    return (name if number is None else None, *(case[key] for key in RESULT))


def in_words(first, last):
    """Return where a run begins and ends."""
    (number, name), (end, last_name) = first["place"], last["place"]
    if number is None:
        return name
    begin = f"{number}: {name}"
    return begin if number == end else f"{begin} – {end}: {last_name}"


def rows_of(cases):
    """Return the rows of a table: faults that ended alike in the same place share one."""
    for request, same in groupby(cases, lambda case: case["request"]):
        rows, together = {}, list(same)
        known = list(dict.fromkeys(case["fault"] for case in together))
        for fault, first, last in spans(together):
            result = tuple(str(first[name]) for name in RESULT)
            place = first["place"][0], in_words(first, last)
            rows.setdefault((place, result), []).append(fault)
        # What happens in no step of its own comes after all steps.
        ordered = sorted(rows.items(), key=lambda row: row[0][0][0] or sys.maxsize)
        for (place, result), faults in ordered:
            is_all = len(known) > 3 and set(faults) == set(known)
            words = "any of them" if is_all else "; ".join(dict.fromkeys(faults))
            yield [request, place[1], words, *result]


def as_csv(header, rows):
    """Return the text of a table; what a row repeats of the one above it is left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    above = None
    for row in rows:
        writer.writerow(["" if row[0] == above else row[0], *row[1:]])
        above = row[0]
    return text.getvalue()


def answers_of(report):
    """Return the rows of the table of what OpenRouter can answer."""
    told = {}
    for seen in map(json.loads, properties(report, "answer")):
        told.setdefault((seen["cases"], seen["promise"]), []).append(seen["told"])
    ordered = sorted(told.items(), key=lambda row: [int(one) for one in row[0][0].split(", ")])
    return [
        [cases, promise[0].upper() + promise[1:], "; ".join(sorted(set(words)))]
        for (cases, promise), words in ordered
    ]


def tables(report):
    """Return the text of each table by the name of its file."""
    cases = [json.loads(value) for value in properties(report, "fault")]
    found = {"faults-answers.csv": as_csv(ANSWERS, answers_of(report))}
    for name in dict.fromkeys(case["table"] for case in cases):
        ours = [case for case in cases if case["table"] == name]
        # All faults of a request stand together, in the order in which requests came first.
        order = list(dict.fromkeys(case["request"] for case in ours))
        ours.sort(key=lambda case: order.index(case["request"]))
        found[f"faults-{name}.csv"] = as_csv(HEADER, rows_of(ours))
    return found


def compare(found, folder):
    """Print how the tables of the docs differ from what was seen; return whether they do."""
    known = {path.name: path.read_text() for path in folder.glob("faults-*.csv")}
    for name in sorted(known.keys() | found.keys()):
        old, new = (text.get(name, "").splitlines() for text in (known, found))
        for line in difflib.unified_diff(old, new, f"docs: {name}", f"seen: {name}", lineterm=""):
            print(line)
    return known != found


def main(report, folder):
    """Write or compare; return the exit status."""
    found = tables(report)
    if target := os.environ.get("FAULTS_TABLES"):
        for name, text in found.items():
            (Path(target) / name).write_text(text)
        return 0
    if compare(found, Path(folder)):
        print("The tables of the page about faults are not what was seen: make faults")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
