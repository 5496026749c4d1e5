//! Plugins for tests: WebAssembly text around a few lines that misbehave, made into components of the world.

use weir_event::transform::{Edit, Plan, Reason, ReasonClass};

const COMPONENT: &str = include_str!("guests/component.wat");
const MODULE: &str = include_str!("guests/module.wat");

/// Where `module.wat` wants the answer of `configure`.
const PLAN_ADDRESS: u32 = 1024;

/// A guest that keeps every row, to begin with.
pub struct Guest {
    pub manifest: serde_json::Value,
    pub plan: Plan,
    pub pages: u32,
    pub configure: String,
    pub transform: String,
    pub post: String,
    pub extra: String,
}

impl Default for Guest {
    fn default() -> Guest {
        Guest {
            manifest: serde_json::json!({
                "name": "guest", "version": "1.0.0", "worlds": ["transform"], "reads": "any", "writes": "any",
            }),
            plan: Plan {
                reads: vec!["message".into()],
                attributes: vec!["namespace".into()],
                writes: vec!["copy".into()],
                reasons: vec![Reason { name: "dropped".into(), class: ReasonClass::Dropped }],
                edits: Vec::new(),
            },
            pages: 2,
            configure: format!("(i32.const {PLAN_ADDRESS})"),
            transform: "(i32.const 512)".into(),
            post: "(global.set $top (i32.const 16384))".into(),
            extra: String::new(),
        }
    }
}

impl Guest {
    /// A guest that does what each row says; see `guests/by_row.wat`.
    pub fn by_row() -> Guest {
        Guest {
            transform: include_str!("guests/by_row.wat").into(),
            extra: include_str!("guests/by_row_extra.wat").into(),
            ..Guest::default()
        }
    }

    /// A guest that writes its first column back.
    pub fn echo() -> Guest {
        Guest { transform: include_str!("guests/echo.wat").into(), ..Guest::default() }
    }

    /// The artefact.
    pub fn build(&self) -> Vec<u8> {
        component(&self.text(COMPONENT), Some(&self.manifest))
    }

    /// Its text, as part of the text of a component.
    pub fn text(&self, component: &str) -> String {
        let module = MODULE
            .replace("PAGES", &self.pages.to_string())
            .replace("PLAN", &escape(&answer(&self.plan)))
            .replace("CONFIGURE", &self.configure)
            .replace("TRANSFORM", &self.transform)
            .replace("POST", &self.post)
            .replace("EXTRA", &self.extra);
        component.replace("MODULE", &module)
    }
}

/// A component from its text, with a manifest.
pub fn component(text: &str, manifest: Option<&serde_json::Value>) -> Vec<u8> {
    let mut wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    if let Some(manifest) = manifest {
        let name = "weir:manifest";
        let mut body = vec![name.len() as u8];
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(manifest.to_string().as_bytes());
        wasm.push(0);
        let mut rest = body.len();
        while rest >= 0x80 {
            wasm.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        wasm.push(rest as u8);
        wasm.extend(body);
    }
    wasm
}

fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// `ok(plan)` as the canonical ABI lays it out at `PLAN_ADDRESS`.
fn answer(plan: &Plan) -> Vec<u8> {
    let mut memory = Memory(vec![0; 44]);
    let lists = [&plan.reads, &plan.attributes, &plan.writes].map(|names| memory.strings(names));
    let reasons = plan.reasons.iter().flat_map(|reason| memory.reason(reason)).collect::<Vec<_>>();
    let reasons = memory.list(&reasons, plan.reasons.len());
    let edits = plan.edits.iter().flat_map(|edit| memory.edit(edit)).collect::<Vec<_>>();
    let edits = memory.list(&edits, plan.edits.len());
    let fields = [lists[0], lists[1], lists[2], reasons, edits].concat();
    for (at, field) in fields.iter().enumerate() {
        memory.0[4 + at * 4..][..4].copy_from_slice(&field.to_le_bytes());
    }
    memory.0
}

struct Memory(Vec<u8>);

impl Memory {
    fn place(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let address = PLAN_ADDRESS + self.0.len() as u32;
        self.0.extend_from_slice(bytes);
        address
    }

    fn string(&mut self, text: &str) -> [u32; 2] {
        [self.place(text.as_bytes()), text.len() as u32]
    }

    fn strings(&mut self, texts: &[String]) -> [u32; 2] {
        let words: Vec<u32> = texts.iter().flat_map(|text| self.string(text)).collect();
        self.list(&words, texts.len())
    }

    fn list(&mut self, words: &[u32], length: usize) -> [u32; 2] {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        [self.place(&bytes), length as u32]
    }

    fn reason(&mut self, reason: &Reason) -> [u32; 3] {
        let [address, length] = self.string(&reason.name);
        [address, length, reason.class as u32]
    }

    fn edit(&mut self, edit: &Edit) -> [u32; 5] {
        match edit {
            Edit::Remove(path) => {
                let [address, length] = self.string(path);
                [0, address, length, 0, 0]
            }
            Edit::Set(first, second) | Edit::Rename(first, second) => {
                let (first, second) = (self.string(first), self.string(second));
                let case = if matches!(edit, Edit::Set(..)) { 1 } else { 2 };
                [case, first[0], first[1], second[0], second[1]]
            }
            Edit::KeepOnly(paths) => {
                let [address, length] = self.strings(paths);
                [3, address, length, 0, 0]
            }
        }
    }
}
