// Drops events by level, and writes the level of those that stay as a number.
//
// The functions and records are those of wit/transform.wit. A column holds all values of one field in one run of
// bytes: value i is data[offsets[i]] up to data[offsets[i + 1]], its kind is kinds[i].

const STRING = 2;
const NUMBER = 3;
const SEVERITIES = new Map([["trace", 1], ["debug", 5], ["info", 9], ["warn", 13], ["error", 17], ["fatal", 21]]);

const text = new TextDecoder();
const bytes = new TextEncoder();

// The levels to drop; set by configure, which is called once, before anything else.
let dropped = new Set();

export const transformer = {
  // The agent has checked the configuration against `config_schema` of manifest.json. What is thrown here refuses it.
  configure(config) {
    const { drop = ["debug", "trace"] } = JSON.parse(config);
    for (const level of drop) {
      if (!SEVERITIES.has(level)) throw `drop: there is no level ${JSON.stringify(level)}`;
    }
    dropped = new Set(drop);
    return {
      reads: ["level"],
      attributes: [],
      writes: ["severity"],
      reasons: [{ name: "level", class: "dropped" }],
      edits: [],
    };
  },

  transform({ rows, columns: [levels] }) {
    const verdicts = new Uint8Array(rows);
    const kinds = new Uint8Array(rows);
    const offsets = new Uint32Array(rows + 1);
    let written = "";
    for (let row = 0; row < rows; row++) {
      const level = levels.kinds[row] === STRING
        ? text.decode(levels.data.subarray(levels.offsets[row], levels.offsets[row + 1])).toLowerCase()
        : "";
      if (dropped.has(level)) {
        verdicts[row] = 1;
      } else if (SEVERITIES.has(level)) {
        kinds[row] = NUMBER;
        written += SEVERITIES.get(level);
      }
      offsets[row + 1] = written.length;
    }
    const values = { kinds, offsets, data: bytes.encode(written) };
    return { verdicts, columns: [{ field: 0, values }], patches: [], events: [] };
  },
};
