//! Reads an event from its members, as they come: a journal of a hundred thousand is read while a person waits.
//!
//! The members that every event has come first, then the kind, then the kind's own. serde's own way with such a form is to
//! keep all members aside until it knows the kind.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::Event;
use super::event::Stored;

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Seq,
    At,
    Actor,
    Kind,
    #[serde(other)]
    Other,
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Event, A::Error> {
        let (mut seq, mut at, mut actor) = (None, None, None);
        while let Some(name) = members.next_key()? {
            match name {
                Name::Seq => seq = Some(members.next_value()?),
                Name::At => at = Some(members.next_value()?),
                Name::Actor => actor = Some(members.next_value()?),
                Name::Other => drop(members.next_value::<IgnoredAny>()?),
                Name::Kind => {
                    let seq = seq.ok_or_else(|| A::Error::missing_field("seq"))?;
                    let at = at.ok_or_else(|| A::Error::missing_field("at"))?;
                    let actor = actor.ok_or_else(|| A::Error::missing_field("actor"))?;
                    let Text(kind) = members.next_value()?;
                    let kind = Stored::deserialize(OfKind { kind, members })?;
                    return Ok(Event { seq, at, actor, kind });
                }
            }
        }
        Err(A::Error::missing_field("kind"))
    }
}

/// Text that is copied only where it must be.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is left of the members, as the value of a kind.
struct OfKind<'de, A> {
    kind: Cow<'de, str>,
    members: A,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for OfKind<'de, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for OfKind<'de, A> {
    type Error = A::Error;
    type Variant = Own<'de, A>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Own<'de, A>), A::Error> {
        let kind = seed.deserialize(CowStrDeserializer::new(self.kind))?;
        Ok((kind, Own { members: self.members, life: PhantomData }))
    }
}

/// The members of a kind's own. Every kind has some form of them, if only none.
struct Own<'de, A> {
    members: A,
    life: PhantomData<&'de ()>,
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Own<'de, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        Err(A::Error::invalid_type(Unexpected::Map, &"a kind without members"))
    }

    /// So serde reads a kind some of whose members are those of another value.
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        seed.deserialize(MapAccessDeserializer::new(self.members))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Map, &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self.members)
    }
}
