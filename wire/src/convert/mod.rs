//! Conversions between the parsed types and the private prost messages, field by field.
//!
//! In: prost messages. Out: parsed types or a [`DecodeError`] that names message and field. Invariants: `take(put(v)) == v`; `take` never
//! panics and checks what `limit.rs` bounds; nested messages are required unless the parsed field is an `Option`.
//! Not here: framing (`frame`), the types themselves (`log`, `client`, `peer`).

mod act;
mod client;
mod desk;
mod direct;
mod hook;
mod layout;
mod log;
mod moving;
mod peer;
mod people;
mod presence;
mod push;
mod scalar;
mod search;
mod trust;
mod user;

use crate::error::{DecodeError, Why};

/// The messages that prost generates.
#[allow(unreachable_pub, clippy::all, clippy::pedantic)]
pub(crate) mod proto {
    pub(crate) mod log {
        pub(crate) mod v1 {
            include!(concat!(env!("OUT_DIR"), "/kith.log.v1.rs"));
        }
    }
    pub(crate) mod client {
        pub(crate) mod v1 {
            include!(concat!(env!("OUT_DIR"), "/kith.client.v1.rs"));
        }
    }
    pub(crate) mod peer {
        pub(crate) mod v1 {
            include!(concat!(env!("OUT_DIR"), "/kith.peer.v1.rs"));
        }
    }
}

/// A parsed type that stands in a message as a field of type `P`.
pub(crate) trait Field<P>: Sized {
    /// The raw field.
    fn put(&self) -> P;
    /// Parses the raw field called `field`.
    fn take(raw: P, field: &'static str) -> Result<Self, DecodeError>;
}

impl<P, T: Field<P>> Field<Vec<P>> for Vec<T> {
    fn put(&self) -> Vec<P> {
        self.iter().map(Field::put).collect()
    }
    fn take(raw: Vec<P>, field: &'static str) -> Result<Self, DecodeError> {
        raw.into_iter().map(|raw| T::take(raw, field)).collect()
    }
}

/// Refuses a field that has more than `max` elements.
fn at_most(count: usize, max: usize, field: &'static str) -> Result<(), DecodeError> {
    if count > max { Err(DecodeError::field(field, Why::TooLarge { max })) } else { Ok(()) }
}

/// Refuses a field for which the condition does not hold.
fn well_formed(holds: bool, field: &'static str) -> Result<(), DecodeError> {
    if holds { Ok(()) } else { Err(DecodeError::field(field, Why::Malformed)) }
}

/// As a nested message: required as it is, absent when in an `Option`.
macro_rules! nested {
    ($ty:ty, $pb:ty) => {
        impl Field<Option<$pb>> for $ty {
            fn put(&self) -> Option<$pb> {
                Some(Field::put(self))
            }
            fn take(raw: Option<$pb>, field: &'static str) -> Result<Self, DecodeError> {
                raw.ok_or(DecodeError::field(field, Why::Missing)).and_then(|raw| Field::take(raw, field))
            }
        }
        impl Field<Option<$pb>> for Option<$ty> {
            fn put(&self) -> Option<$pb> {
                self.as_ref().map(Field::put)
            }
            fn take(raw: Option<$pb>, field: &'static str) -> Result<Self, DecodeError> {
                raw.map(|raw| Field::take(raw, field)).transpose()
            }
        }
    };
}

/// A struct whose fields are called as those of its message; `check` sees the parsed value.
macro_rules! message {
    ($ty:ident => $module:ident::$pb:ident { $($field:ident),* } $(check $check:path)?) => {
        impl Field<$module::$pb> for $ty {
            fn put(&self) -> $module::$pb {
                $module::$pb { $($field: Field::put(&self.$field)),* }
            }
            fn take(raw: $module::$pb, _field: &'static str) -> Result<Self, DecodeError> {
                fn fields(raw: $module::$pb) -> Result<$ty, DecodeError> {
                    let value = $ty { $($field: Field::take(raw.$field, stringify!($field))?),* };
                    $($check(&value)?;)?
                    Ok(value)
                }
                fields(raw).map_err(|error| error.within(stringify!($ty)))
            }
        }
        nested!($ty, $module::$pb);
    };
}

/// A tuple, list or option that has a message of its own.
macro_rules! tuple {
    (($($ty:ty),*) => $module:ident::$pb:ident { $($field:ident $name:ident),* }) => {
        impl Field<$module::$pb> for ($($ty),*) {
            fn put(&self) -> $module::$pb {
                let ($($name),*) = self;
                $module::$pb { $($field: Field::put($name)),* }
            }
            fn take(raw: $module::$pb, _field: &'static str) -> Result<Self, DecodeError> {
                Ok(($(Field::take(raw.$field, stringify!($field)).map_err(|error| error.within(stringify!($pb)))?),*))
            }
        }
    };
}

/// An enum that is a oneof: variants with named fields have a message each, others hold one field, or nothing.
macro_rules! union {
    ($ty:ident => $kind:ident {
        $($named:ident: $module:ident::$pb:ident { $($field:ident),* },)*
        $(; holds $($held:ident),*)?
        $(; empty $($empty:ident),*)?
    }) => {
        impl Field<Option<$kind>> for $ty {
            fn put(&self) -> Option<$kind> {
                Some(match self {
                    $($ty::$named { $($field),* } => $kind::$named($module::$pb { $($field: Field::put($field)),* }),)*
                    $($($ty::$held(value) => $kind::$held(Field::put(value)),)*)?
                    $($($ty::$empty => $kind::$empty(proto::log::v1::Unit {}),)*)?
                })
            }
            fn take(raw: Option<$kind>, field: &'static str) -> Result<Self, DecodeError> {
                Ok(match raw.ok_or(DecodeError::Field { message: stringify!($ty), field, why: Why::Unknown })? {
                    $($kind::$named(raw) => $ty::$named {
                        $($field: Field::take(raw.$field, stringify!($field)).map_err(|error| error.within(stringify!($named)))?),*
                    },)*
                    $($($kind::$held(raw) => $ty::$held(Field::take(raw, field).map_err(|error| error.within(stringify!($held)))?),)*)?
                    $($($kind::$empty(_) => $ty::$empty,)*)?
                })
            }
        }
    };
}

/// A message that is nothing but one field, most often a oneof; `check` sees the parsed value.
macro_rules! wrapper {
    ($ty:ty => $module:ident::$pb:ident.$field:ident $(check $check:path)?) => {
        impl Field<$module::$pb> for $ty {
            fn put(&self) -> $module::$pb {
                $module::$pb { $field: Field::put(self) }
            }
            fn take(raw: $module::$pb, _field: &'static str) -> Result<Self, DecodeError> {
                let value = Field::take(raw.$field, stringify!($field)).map_err(|error| error.within(stringify!($pb)))?;
                $($check(&value)?;)?
                Ok(value)
            }
        }
    };
}

/// A fieldless enum whose numbers are those of the proto enum; any other number is an error.
macro_rules! numbered {
    ($ty:ident => $module:ident::$pb:ident { $($variant:ident),* }) => {
        impl Field<i32> for $ty {
            fn put(&self) -> i32 {
                match self { $($ty::$variant => $module::$pb::$variant as i32),* }
            }
            fn take(raw: i32, field: &'static str) -> Result<Self, DecodeError> {
                match $module::$pb::try_from(raw) {
                    $(Ok($module::$pb::$variant) => Ok($ty::$variant),)*
                    _ => Err(DecodeError::field(field, Why::Unknown)),
                }
            }
        }
    };
}

/// `encode` of types that travel or are stored by themselves, by way of prost.
macro_rules! put {
    ($module:ident: $($ty:ident),* $(,)?) => { $(
        impl $ty {
            /// The bytes of this value: one protobuf message, the same for equal values.
            pub fn encode(&self) -> Bytes {
                let raw: $module::$ty = Field::put(self);
                Bytes::from(raw.encode_to_vec())
            }
            /// Appends the same bytes to a buffer.
            pub fn encode_into(&self, out: &mut Vec<u8>) {
                let raw: $module::$ty = Field::put(self);
                raw.encode(out).expect("a vector has room");
            }
        }
    )* };
}

/// `encode` of those that are written straight.
macro_rules! put_direct {
    ($($ty:ident),* $(,)?) => { $(
        impl $ty {
            /// The bytes of this value: one protobuf message, the same for equal values.
            pub fn encode(&self) -> Bytes {
                let mut out = Vec::new();
                self.encode_into(&mut out);
                Bytes::from(out)
            }
            /// Appends the same bytes to a buffer.
            pub fn encode_into(&self, out: &mut Vec<u8>) {
                $crate::convert::direct::Direct::write(self, out);
            }
        }
    )* };
}

/// `decode` of types that travel or are stored by themselves.
macro_rules! taken {
    ($module:ident: $($ty:ident),* $(,)?) => { $(
        impl $ty {
            /// Parses a value.
            ///
            /// # Errors
            /// The bytes are not such a message, or a field is missing, malformed, unknown or over its limit.
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                Self::take_from(bytes)
            }
            /// Parses a value; what it keeps as bytes shares the memory of `bytes`.
            ///
            /// # Errors
            /// As `decode`.
            pub fn decode_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
                Self::take_from(bytes)
            }
            fn take_from(bytes: impl bytes::Buf) -> Result<Self, DecodeError> {
                let raw = $module::$ty::decode(bytes).map_err(|source| DecodeError::Malformed { message: stringify!($ty), source })?;
                Field::take(raw, stringify!($ty))
            }
        }
    )* };
}

/// Both, by way of prost.
macro_rules! top {
    ($module:ident: $($ty:ident),* $(,)?) => {
        $crate::convert::put!($module: $($ty),*);
        $crate::convert::taken!($module: $($ty),*);
    };
}

pub(crate) use {message, nested, numbered, put, put_direct, taken, top, tuple, union, wrapper};
