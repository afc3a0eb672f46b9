"""The project's web application: counts visits in Redis, keeps notes in PostgreSQL, files in a volume."""

import os
import socket
from pathlib import Path
from typing import Any

import psycopg2
import redis
from flask import Flask, request

app = Flask(__name__)
cache = redis.Redis(host="cache")


def database() -> Any:
    password = Path("/run/secrets/db_password").read_text().strip()
    return psycopg2.connect(host="db", user="app", dbname="app", password=password)


@app.get("/")
def index() -> dict[str, Any]:
    return {"visits": cache.incr("visits"), "host": socket.gethostname(), "greeting": os.environ["GREETING"]}


@app.get("/health")
def health() -> str:
    cache.ping()
    with database() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


@app.route("/notes", methods=["GET", "POST"])
def notes() -> list[str]:
    with database() as connection, connection.cursor() as cursor:
        if request.method == "POST":
            cursor.execute("INSERT INTO notes (text) VALUES (%s)", (request.get_data(as_text=True),))
        cursor.execute("SELECT text FROM notes ORDER BY id")
        return [text for (text,) in cursor.fetchall()]


@app.route("/files/<name>", methods=["GET", "PUT"])
def files(name: str) -> bytes:
    path = Path("/uploads") / name
    if request.method == "PUT":
        path.write_bytes(request.get_data())
    return path.read_bytes()
