"""The stand-in for DynamoDB that the tests of the catalog ask, on 127.0.0.1 at the port given: MiniStack's DynamoDB without
what MiniStack has around it for all of AWS, which takes most of the time of the thousands of requests that these tests make.

MiniStack also reads every expression of a request anew for each item that it looks at. Here what an expression's text alone
decides is worked out once. What DynamoDB answers is all MiniStack's.
"""

import asyncio
import email.utils
import functools
import logging
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
