#!/usr/bin/env python3
"""Build the demo data: quakes.jsonl.gz and airports.csv.gz.

usage: prepare.py PACKAGE_DIR [OUTPUT_DIR]

PACKAGE_DIR is the unpacked npm package `vega-datasets` (it holds `data/`).
OUTPUT_DIR defaults to the folder of this script.

Standard library only. The same input always gives the same content.
"""

import csv
import gzip
import hashlib
import io
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

# The package version this was written for (3.2.1). Other bytes are refused,
# because the demo's expected numbers depend on them.
EXPECTED = {
    "earthquakes.json": "a42702a83ffbae679f95d1fa53e2cae0bae13b21e599a68cdd50a44fc52129f7",
    "airports.csv": "903c7169e6d558eefb95295fe2947ec8503135fbb855ea5c737cf4a90ea603ad",
}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_checked(path):
    data = path.read_bytes()
    if sha256(data) != EXPECTED[path.name]:
        sys.exit(f"{path.name}: not the file this script was written for")
    return data


def utc(milliseconds):
    """Milliseconds since 1970 as 2018-02-07T01:12:53.840Z, without rounding."""
    seconds, rest = divmod(milliseconds, 1000)
    stamp = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def comma_list(text):
    """The feed writes lists as ",a,b,"."""
    return [part for part in text.split(",") if part]


def number(token):
    """Parse a decimal, and insist that writing it gives the source's text."""
    value = float(token)
    if repr(value) != token:
        raise ValueError(f"number {token} would be rewritten as {value!r}")
    return value


def event(feature):
    p = feature["properties"]
    longitude, latitude, depth = feature["geometry"]["coordinates"]
    description = p["place"]
    _, comma, region = description.rpartition(", ")
    ids, sources = comma_list(p["ids"]), comma_list(p["sources"])
    # Checks for what is dropped or split below.
    assert p["net"] + p["code"] == feature["id"]
    assert p["tsunami"] in (0, 1)
    assert len(ids) == len(sources)
    assert all(i.startswith(s) for i, s in zip(ids, sources))
    return {
        "id": feature["id"],
        "updated_at": utc(p["updated"]),
        "time": utc(p["time"]),
        "kind": p["type"],
        "mag": p["mag"],
        "mag_type": p["magType"],
        "place": {
            "description": description,
            "region": region if comma else None,
        },
        "location": {
            "longitude": longitude,
            "latitude": latitude,
            "depth_km": depth,
        },
        "status": p["status"],
        "tsunami": p["tsunami"] == 1,
        "significance": p["sig"],
        "felt": p["felt"],
        "cdi": p["cdi"],
        "mmi": p["mmi"],
        "alert": p["alert"],
        "network": p["net"],
        "quality": {
            "stations": p["nst"],
            "nearest_station_deg": p["dmin"],
            "rms_s": p["rms"],
            "gap_deg": p["gap"],
        },
        "url": p["url"],
        "products": [
            {"type": name, "position": n}
            for n, name in enumerate(comma_list(p["types"]), 1)
        ],
        "catalog_ids": [
            {"network": s, "event_id": i} for s, i in zip(sources, ids)
        ],
    }


def write_gzip(path, content):
    # No name and no time in the header, as `gzip -n -9` does.
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=9, fileobj=buffer, mtime=0) as out:
        out.write(content)
    path.write_bytes(buffer.getvalue())
    print(f"{path.name}: {len(content)} bytes, {len(buffer.getvalue())} compressed,"
          f" sha256 of the content {sha256(content)}")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    data = Path(sys.argv[1]) / "data"
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent

    feed = json.loads(read_checked(data / "earthquakes.json"), parse_float=number)
    events = sorted((event(f) for f in feed["features"]), key=lambda e: e["id"])
    assert len({e["id"] for e in events}) == len(events)
    lines = "".join(
        json.dumps(e, ensure_ascii=False, separators=(",", ":")) + "\n" for e in events
    )
    write_gzip(target / "quakes.jsonl.gz", lines.encode("utf-8"))

    airports = read_checked(data / "airports.csv")
    write_gzip(target / "airports.csv.gz", airports)

    rows = list(csv.DictReader(io.StringIO(airports.decode("utf-8"), newline="")))
    print(f"events {len(events)},"
          f" products {sum(len(e['products']) for e in events)},"
          f" catalog_ids {sum(len(e['catalog_ids']) for e in events)},"
          f" airports {len(rows)}")


if __name__ == "__main__":
    main()
