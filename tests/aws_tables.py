"""The stand-in for DynamoDB that the tests of the catalog ask, on 127.0.0.1 at the port given: MiniStack's DynamoDB without
what MiniStack has around it for all of AWS, which takes most of the time of the thousands of requests that these tests make.

MiniStack also reads every expression of a request anew for each item that it looks at, and a query looks at a whole partition.
Here what an expression's text alone decides is worked out once, and whether a sort key lies in the range of a query is a
comparison, which is held against MiniStack's own for each 64th item. Everything else that is answered is MiniStack's.
"""

import asyncio
import email.utils
import functools
import itertools
import logging
import re
import sys

from ministack.services import dynamodb


def of_text(function):
    """The same function, whose answer to the same texts is kept. What is raised is not."""
    kept = functools.lru_cache(maxsize=512)(function)

    @functools.wraps(function)
    def quick(*texts):
        answer = kept(*texts)
        # Whoever asks may take a list apart.
        return list(answer) if isinstance(answer, list) else answer

    return quick


def of_tokens(function):
    kept = functools.lru_cache(maxsize=512)(lambda tokens, *rest: function(list(tokens), *rest))
    return functools.wraps(function)(lambda tokens, *rest: kept(tuple(tokens), *rest))


dynamodb._tokenize = of_text(dynamodb._tokenize)
dynamodb._condition_syntax_error = of_text(dynamodb._condition_syntax_error)
dynamodb._check_redundant_parens = of_tokens(dynamodb._check_redundant_parens)
dynamodb._check_reserved_keyword_usage = of_tokens(dynamodb._check_reserved_keyword_usage)
evaluate = dynamodb._evaluate_condition
count = itertools.count()


@functools.lru_cache(maxsize=512)
def bounds(expression):
    """Of a range of keys: the name of the sort key and the names of its ends."""
    between = re.search(r"(#\w+) BETWEEN (:\w+) AND (:\w+)$", expression)
    below = re.search(r"(#\w+) <= (:\w+)$", expression)
    return between.groups() if between else (below[1], None, below[2]) if below else None


def evaluate_quickly(expression, item, values, names, slot="ConditionExpression"):
    if slot == "KeyConditionExpression" and (ends := bounds(expression)):
        key, first, last = ends
        # Code points and UTF-8 have the same order. The partition is the query's: it looks at no other.
        at = item[names[key]]["S"]
        within = at <= values[last]["S"] and (first is None or at >= values[first]["S"])
        if next(count) % 64:
            return within
        theirs = evaluate(expression, item, values, names, slot=slot)
        assert within == theirs, (expression, item, values)
        return theirs
    return evaluate(expression, item, values, names, slot=slot)


dynamodb._evaluate_condition = evaluate_quickly


async def serve(reader, writer):
    """One connection: HTTP/1.1 as far as a client of AWS speaks it."""
    try:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
            request, *lines = head.split("\r\n")
            method, path, _ = request.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            status, more, answer = 200, {}, b"{}"
            if method == "POST":
                status, more, answer = await dynamodb.handle_request(method, path, headers, body, {})
            answer = answer if isinstance(answer, bytes) else answer.encode()
            more = {**more, "Content-Length": len(answer), "Date": email.utils.formatdate(usegmt=True)}
            fields = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            writer.write(f"HTTP/1.1 {status} X\r\n{fields}\r\n".encode() + answer)
            await writer.drain()
            if headers.get("connection", "").lower() == "close":
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 20, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    logging.disable(logging.INFO)
    asyncio.run(main(int(sys.argv[1])))
