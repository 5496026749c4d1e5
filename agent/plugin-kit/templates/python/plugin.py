"""Drops events by level, and writes the level of those that stay as a number.

The functions and records are those of wit/transform.wit. A column holds all values of one field in one run of
bytes: value i is data[offsets[i]:offsets[i + 1]], its kind is kinds[i].
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Batch, Column, Context, Outcome, Plan, Reason, ReasonClass, WrittenColumn

STRING = 2
NUMBER = 3
# The levels to drop; set by configure, which is called once, before anything else. The object that a function is called
# on is made for each call, so what is to stay is kept here.
dropped: set[bytes] = set()

SEVERITIES = {b"trace": b"1", b"debug": b"5", b"info": b"9", b"warn": b"13", b"error": b"17", b"fatal": b"21"}


class Transformer(exports.Transformer):
    def configure(self, config: str) -> Plan:
        """The agent has checked the configuration against `config_schema` of manifest.json; an Err refuses it."""
        drop = json.loads(config).get("drop", ["debug", "trace"])
        for level in drop:
            if level.encode() not in SEVERITIES:
                raise Err(f"drop: there is no level {json.dumps(level)}")
        dropped.update(level.encode() for level in drop)
        return Plan(
            reads=["level"],
            attributes=[],
            writes=["severity"],
            reasons=[Reason("level", ReasonClass.DROPPED)],
            edits=[],
        )

    def transform(self, batch: Batch, context: Context) -> Outcome:
        levels = batch.columns[0]
        verdicts, kinds = bytearray(batch.rows), bytearray(batch.rows)
        offsets, data = [0], bytearray()
        for row in range(batch.rows):
            start, end = levels.offsets[row], levels.offsets[row + 1]
            level = levels.data[start:end].lower() if levels.kinds[row] == STRING else b""
            if level in dropped:
                verdicts[row] = 1
            elif level in SEVERITIES:
                kinds[row] = NUMBER
                data += SEVERITIES[level]
            offsets.append(len(data))
        severity = WrittenColumn(0, Column(bytes(kinds), offsets, bytes(data)))
        return Outcome(verdicts=bytes(verdicts), columns=[severity], patches=[], events=[])
