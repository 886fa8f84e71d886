"""A worker proxy as this field runs them: aiohttp, PyCryptodome.

It takes the ticket from the body, verifies its signature, and passes the rest
on; it checks no replay and keeps no order. It is one process, as they are.

usage: worker.py HOST:PORT MODEL_URL PUBLIC_KEY_FILE
"""
import base64
import json
import sys

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from Cryptodome.Hash import SHA256
from Cryptodome.PublicKey import RSA
from Cryptodome.Signature import pkcs1_15

(host, port), model, key_file = sys.argv[1].split(":"), sys.argv[2], sys.argv[3]
with open(key_file, "rb") as f:
    key = RSA.import_key(f.read())


def genuine(ticket):
    signed = {k: ticket[k] for k in ("cost", "endpoint", "reqnum", "url")}
    message = json.dumps(signed, indent=4, sort_keys=True)
    try:
        pkcs1_15.new(key).verify(SHA256.new(message.encode()), base64.b64decode(ticket["signature"]))
        return True
    except (ValueError, TypeError):
        return False


async def health(_):
    return web.Response(text="ok")


async def generate(request):
    body = await request.json()
    ticket = {k: body.pop(k) for k in ("cost", "endpoint", "reqnum", "url", "signature")}
    if not genuine(ticket):
        return web.Response(status=401)
    async with request.app["session"].post(model + request.path_qs, json=body) as answer:
        if answer.content_type != "text/event-stream":
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)
        response = web.StreamResponse(status=answer.status)
        response.content_type = answer.content_type
        await response.prepare(request)
        async for chunk in answer.content:
            await response.write(chunk)
        await response.write_eof()
        return response


async def session(app):
    connector = TCPConnector(force_close=False, limit=0)
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=None)) as s:
        app["session"] = s
        yield


app = web.Application(client_max_size=64 << 20)
app.cleanup_ctx.append(session)
app.router.add_get("/health", health)
app.router.add_post("/generate", generate)
app.router.add_post("/generate_stream", generate)
web.run_app(app, host=host, port=int(port), access_log=None, print=None, backlog=4096, keepalive_timeout=3600)
