//! Finds out how a type is laid out by deserializing it from nothing: the tracer notes what serde asks for, and answers with values
//! that every type accepts. Enums show one variant a pass; passes go on until each has shown all.
//!
//! `serde-reflection` does the same, but knows types by their bare names, and takes `Signed<Vote>` and `Signed<Wake>` for one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::de::value::{Error, U32Deserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

/// What every integer is: as the first byte of an address it is one of TRON's.
const ANYTHING: u8 = 0x41;
/// More than any type of ours needs.
const MAX_PASSES: usize = 1_000;

/// How a value becomes bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A number of so many bytes.
    Int(usize),
    Bool,
    Text,
    Option(Box<Shape>),
    List(Box<Shape>),
    Map(Box<Shape>, Box<Shape>),
    Tuple(Vec<Shape>),
    Named(String),
}

/// Fields in their order; those of tuples have numbers for names.
pub(crate) type Fields = Vec<(String, Shape)>;

/// How a named type becomes bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Newtype(Shape),
    Struct(Fields),
    /// The variants by their numbers.
    Enum(BTreeMap<u32, (String, Fields)>),
}

/// All named types that were found.
#[derive(Default)]
pub(crate) struct Tracer {
    types: BTreeMap<String, Layout>,
    /// How many variants an enum has.
    n_variants: BTreeMap<String, usize>,
    pass: usize,
}

impl Tracer {
    pub(crate) fn layout(&self, name: &str) -> Option<&Layout> {
        self.types.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.types.keys()
    }

    /// The shape of a type; it and all types inside are known afterwards.
    pub(crate) fn trace<T: DeserializeOwned>(&mut self) -> Shape {
        for _ in 0..MAX_PASSES {
            self.pass += 1;
            let mut shape = Shape::Bool;
            T::deserialize(Place { tracer: self, shape: &mut shape }).unwrap();
            let is_whole = |(name, n): (&String, &usize)| match self.types.get(name) {
                Some(Layout::Enum(variants)) => variants.len() == *n,
                _ => false,
            };
            if self.n_variants.iter().all(is_whole) {
                return shape;
            }
        }
        panic!("some enum shows no more variants");
    }

    /// A type that is named twice must be one type.
    fn note(&mut self, name: &str, layout: Layout) -> Shape {
        let known = self.types.entry(name.to_owned()).or_insert_with(|| layout.clone());
        assert_eq!(*known, layout, "two types are called {name}");
        Shape::Named(name.to_owned())
    }

    /// One that has not been shown yet, else each in turn, for the enums inside.
    fn choose(&mut self, name: &str, n: usize) -> u32 {
        self.n_variants.insert(name.to_owned(), n);
        let n = u32::try_from(n).unwrap();
        let layout = self.types.entry(name.to_owned()).or_insert_with(|| Layout::Enum(BTreeMap::new()));
        let Layout::Enum(shown) = layout else { panic!("two types are called {name}") };
        // Enums within each other must not go through their variants in step.
        let mut hasher = DefaultHasher::new();
        (name, self.pass).hash(&mut hasher);
        let turn = u32::try_from(hasher.finish() % u64::from(n)).unwrap();
        (0..n).find(|index| !shown.contains_key(index)).unwrap_or(turn)
    }

    fn note_variant(&mut self, name: &str, index: u32, variant: (String, Fields)) {
        let Some(Layout::Enum(shown)) = self.types.get_mut(name) else { panic!("{name} is no enum") };
        let known = shown.entry(index).or_insert_with(|| variant.clone());
        assert_eq!(*known, variant, "two types are called {name}");
    }
}

/// Where a value is asked for, and where its shape goes.
struct Place<'a> {
    tracer: &'a mut Tracer,
    shape: &'a mut Shape,
}

macro_rules! integers {
    ($($method:ident $visit:ident $int:ty),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            *self.shape = Shape::Int(size_of::<$int>());
            visitor.$visit(ANYTHING.into())
        })*
    };
}

macro_rules! absent {
    ($($method:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
            Err(de::Error::custom(concat!("a wire type asks for ", stringify!($method))))
        })*
    };
}

impl<'de> de::Deserializer<'de> for Place<'_> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    integers!(deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_u128 visit_u128 u128);
    absent!(
        deserialize_any,
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_f32,
        deserialize_f64,
        deserialize_char,
        deserialize_bytes,
        deserialize_unit,
        deserialize_identifier,
        deserialize_ignored_any
    );

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.shape = Shape::Bool;
        visitor.visit_bool(true)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.shape = Shape::Text;
        visitor.visit_str("text")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.shape = Shape::List(Box::new(Shape::Int(1)));
        visitor.visit_byte_buf(vec![ANYTHING])
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut inner = Shape::Bool;
        let value = visitor.visit_some(Place { tracer: self.tracer, shape: &mut inner });
        *self.shape = Shape::Option(Box::new(inner));
        value
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, _visitor: V) -> Result<V::Value, Error> {
        Err(de::Error::custom(format!("{name} has no bytes")))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        let mut inner = Shape::Bool;
        let value = visitor.visit_newtype_struct(Place { tracer: &mut *self.tracer, shape: &mut inner });
        *self.shape = self.tracer.note(name, Layout::Newtype(inner));
        value
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut items = Elements::new(self.tracer, 1);
        let value = visitor.visit_seq(&mut items);
        *self.shape = Shape::List(Box::new(items.shapes.remove(0)));
        value
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let mut items = Elements::new(self.tracer, len);
        let value = visitor.visit_seq(&mut items);
        *self.shape = Shape::Tuple(items.shapes);
        value
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut items = Elements::new(&mut *self.tracer, len);
        let value = visitor.visit_seq(&mut items);
        let fields = numbered(items.shapes);
        *self.shape = self.tracer.note(name, Layout::Struct(fields));
        value
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut entry = Elements::new(self.tracer, 2);
        let value = visitor.visit_map(&mut entry);
        let value_shape = entry.shapes.remove(1);
        *self.shape = Shape::Map(Box::new(entry.shapes.remove(0)), Box::new(value_shape));
        value
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut items = Elements::new(&mut *self.tracer, fields.len());
        let value = visitor.visit_seq(&mut items);
        let fields = named(fields, items.shapes);
        // Generic over its record: `Signed<Vote>`.
        let record = fields.iter().find_map(|(field, shape)| match shape {
            Shape::Named(record) if field == "record" => Some(record),
            _ => None,
        });
        let name = record.map_or_else(|| name.to_owned(), |record| format!("{name}<{record}>"));
        *self.shape = self.tracer.note(&name, Layout::Struct(fields));
        value
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let index = self.tracer.choose(name, variants.len());
        let mut fields = Vec::new();
        let value = visitor.visit_enum(Variant { tracer: &mut *self.tracer, index, fields: &mut fields });
        let variant = variants[usize::try_from(index).unwrap()].to_owned();
        self.tracer.note_variant(name, index, (variant, fields));
        *self.shape = Shape::Named(name.to_owned());
        value
    }
}

fn named(names: &[&str], shapes: Vec<Shape>) -> Fields {
    assert_eq!(names.len(), shapes.len(), "a field is not read: {names:?}");
    names.iter().map(|name| (*name).to_owned()).zip(shapes).collect()
}

fn numbered(shapes: Vec<Shape>) -> Fields {
    shapes.into_iter().enumerate().map(|(i, shape)| (i.to_string(), shape)).collect()
}

/// So many values one after the other.
struct Elements<'a> {
    tracer: &'a mut Tracer,
    left: usize,
    shapes: Vec<Shape>,
}

impl<'a> Elements<'a> {
    fn new(tracer: &'a mut Tracer, left: usize) -> Self {
        Self { tracer, left, shapes: Vec::new() }
    }

    fn next<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let mut shape = Shape::Bool;
        let value = seed.deserialize(Place { tracer: &mut *self.tracer, shape: &mut shape })?;
        self.shapes.push(shape);
        Ok(Some(value))
    }
}

impl<'de> de::SeqAccess<'de> for &mut Elements<'_> {
    type Error = Error;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }
}

impl<'de> de::MapAccess<'de> for &mut Elements<'_> {
    type Error = Error;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next(seed)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.next(seed)?.ok_or_else(|| de::Error::custom("an entry has no value"))
    }
}

/// The variant that an enum shows.
struct Variant<'a> {
    tracer: &'a mut Tracer,
    index: u32,
    fields: &'a mut Fields,
}

impl<'de> de::EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let index: U32Deserializer<Error> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        let mut items = Elements::new(self.tracer, 1);
        let value = items.next(seed)?;
        *self.fields = numbered(items.shapes);
        value.ok_or_else(|| de::Error::custom("a variant has no value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let mut items = Elements::new(self.tracer, len);
        let value = visitor.visit_seq(&mut items);
        *self.fields = numbered(items.shapes);
        value
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        let mut items = Elements::new(self.tracer, fields.len());
        let value = visitor.visit_seq(&mut items);
        *self.fields = named(fields, items.shapes);
        value
    }
}
