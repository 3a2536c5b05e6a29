"""Whether a schedule of EventBridge Scheduler is due at a minute."""

import datetime
import re
import zoneinfo

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]  # 1 is Sunday
FIELDS = [("minute", 0, 59, []), ("hour", 0, 23, []), ("day", 1, 31, []), ("month", 1, 12, MONTHS), ("weekday", 1, 7, DAYS), ("year", 1970, 2199, [])]
SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


def number(text, names, least):
    text = text.upper()
    return names.index(text) + least if text in names else int(text)


def holds(text, value, least, most, names):
    """Whether a field, as far as one is generated, holds a value."""
    for part in text.split(","):
        part, _, step = part.partition("/")
        if part in ("*", "?"):
            first, last = least, most
        elif "-" in part:
            first, last = (number(end, names, least) for end in part.split("-"))
        else:
            first = number(part, names, least)
            last = most if step else first
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


def due(expression, zone, minute):
    """`minute`: seconds since 1970, of a whole minute. Rates begin at a minute that is nobody's here: 1970."""
    rate = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if rate:
        return minute % (int(rate[1]) * SECONDS[rate[2]]) == 0
    cron = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)", expression)
    if not cron:
        raise ValueError(f"the schedule {expression} is none that is known here")
    at = datetime.datetime.fromtimestamp(minute, zoneinfo.ZoneInfo(zone or "UTC"))
    values = [at.minute, at.hour, at.day, at.month, at.isoweekday() % 7 + 1, at.year]
    return all(holds(text, value, least, most, names) for text, value, (_, least, most, names) in zip(cron.groups(), values, FIELDS))
