//! The JSON Schema of the configuration, made from the structs of `raw`.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

use crate::raw;

/// The JSON Schema (draft 2020-12) of the configuration, as `weir config schema` prints it.
pub fn schema() -> Value {
    shared().clone()
}

/// The same, made once.
pub(crate) fn shared() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let settings =
            SchemaSettings::draft2020_12().for_deserialize().with_transform(NoNull).with_transform(OneLine);
        settings.into_generator().into_root_schema_for::<raw::Config>().to_value()
    })
}

/// A key without a value is an error and not an absent key: an empty `fields:` must not grant everything. So what an
/// `Option` adds to the schema is taken away.
#[derive(Clone)]
struct NoNull;

impl Transform for NoNull {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        transform_subschemas(self, schema);
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_string(), only);
            }
        }
        let Some(Value::Array(choices)) = schema.get_mut("anyOf") else { return };
        choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
        let [only] = choices.as_slice() else { return };
        let only = only.as_object().cloned().unwrap_or_default();
        schema.remove("anyOf");
        for (key, value) in only {
            schema.ensure_object().entry(key).or_insert(value);
        }
    }
}

/// A description's lines were broken for the source code.
#[derive(Clone)]
struct OneLine;

impl Transform for OneLine {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        transform_subschemas(self, schema);
        if let Some(Value::String(description)) = schema.get_mut("description") {
            *description = description.replace('\n', " ");
        }
    }
}
