//! Text of a [`Format`], as serde and the schema see it.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::types::Format;

/// A value that is written as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text<T>(pub T);

impl<'de, T: Format> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<T>, D::Error> {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Format> Visitor<'_> for TextVisitor<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
        T::parse(text).map(Text).map_err(|complaint| E::custom(complaint.message))
    }
}

impl<T: Format> JsonSchema for Text<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({ "type": "string", "format": T::NAME, "description": T::DESCRIPTION });
        if T::TAKES_NUMBERS {
            schema.insert("type".to_string(), serde_json::json!(["string", "number"]));
        }
        if let Some(pattern) = T::PATTERN {
            schema.insert("pattern".to_string(), pattern.into());
        }
        schema
    }
}
