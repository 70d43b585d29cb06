//! Scalars and ids as fields.

use bytes::Bytes;

use super::Field;
use crate::{
    code::Code,
    error::{DecodeError, Why},
    hello::{Features, Version},
    id::{
        BootEpoch, CallKey, ChannelId, ClientSeq, ClusterId, Conn, DeviceId, GroupId, HookId, Incarnation, LogIndex, MapEpoch, NodeId, OwnerEpoch,
        RegionId, RequestId, Seq, SessionId, StoreId, Term, Timestamp, UserId, UserRev,
    },
    secret::Secret,
    upgrade::ClusterVersion,
};

macro_rules! plain {
    ($($ty:ty),*) => { $(
        impl Field<$ty> for $ty {
            fn put(&self) -> $ty { self.clone() }
            fn take(raw: $ty, _field: &'static str) -> Result<Self, DecodeError> { Ok(raw) }
        }
    )* };
}
plain!(bool, u32, u64, String, Bytes, Option<u32>, Option<u64>, Option<String>, Option<bool>, Option<Bytes>);

macro_rules! ids {
    ($raw:ty: $($ty:ty),*) => { $(
        impl Field<$raw> for $ty {
            fn put(&self) -> $raw { self.get() }
            fn take(raw: $raw, _field: &'static str) -> Result<Self, DecodeError> { Ok(Self::new(raw)) }
        }
        impl Field<Option<$raw>> for Option<$ty> {
            fn put(&self) -> Option<$raw> { self.map(|id| id.get()) }
            fn take(raw: Option<$raw>, _field: &'static str) -> Result<Self, DecodeError> { Ok(raw.map(<$ty>::new)) }
        }
    )* };
}
ids!(u64: HookId, NodeId, UserId, DeviceId, SessionId, Seq, UserRev, Term, LogIndex, MapEpoch, ClientSeq, BootEpoch, Conn, OwnerEpoch, RequestId, Timestamp);
ids!(u32: GroupId, Incarnation, ClusterVersion);

macro_rules! narrow {
    ($($ty:ty as $narrow:ty: $get:expr, $new:expr;)*) => { $(
        impl Field<u32> for $ty {
            fn put(&self) -> u32 { u32::from($get(*self)) }
            fn take(raw: u32, field: &'static str) -> Result<Self, DecodeError> {
                <$narrow>::try_from(raw).map($new).map_err(|_| DecodeError::field(field, Why::Malformed))
            }
        }
    )* };
}
narrow! {
    RegionId as u8: RegionId::get, RegionId::new;
    u16 as u16: |raw: u16| raw, |raw| raw;
    Code as u16: Code::number, Code::from_number;
}

impl Field<Option<u32>> for Option<RegionId> {
    fn put(&self) -> Option<u32> {
        self.as_ref().map(Field::put)
    }
    fn take(raw: Option<u32>, field: &'static str) -> Result<Self, DecodeError> {
        raw.map(|raw| Field::take(raw, field)).transpose()
    }
}
impl Field<u32> for Version {
    fn put(&self) -> u32 {
        self.0
    }
    fn take(raw: u32, _field: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(raw))
    }
}
impl Field<u64> for Features {
    fn put(&self) -> u64 {
        self.0
    }
    fn take(raw: u64, _field: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(raw))
    }
}

impl Field<Bytes> for ChannelId {
    fn put(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
    fn take(raw: Bytes, field: &'static str) -> Result<Self, DecodeError> {
        Self::from_bytes(&raw).map_err(|_| DecodeError::field(field, Why::Malformed))
    }
}

impl Field<String> for Secret {
    fn put(&self) -> String {
        self.reveal().to_owned()
    }
    fn take(raw: String, _field: &'static str) -> Result<Self, DecodeError> {
        Ok(Self::new(raw))
    }
}
impl Field<Option<String>> for Option<Secret> {
    fn put(&self) -> Option<String> {
        self.as_ref().map(Field::put)
    }
    fn take(raw: Option<String>, _field: &'static str) -> Result<Self, DecodeError> {
        Ok(raw.map(Secret::new))
    }
}

impl Field<Option<Bytes>> for Option<ChannelId> {
    fn put(&self) -> Option<Bytes> {
        self.as_ref().map(Field::put)
    }
    fn take(raw: Option<Bytes>, field: &'static str) -> Result<Self, DecodeError> {
        raw.map(|raw| Field::take(raw, field)).transpose()
    }
}

impl<const N: usize> Field<Option<Bytes>> for Option<[u8; N]> {
    fn put(&self) -> Option<Bytes> {
        self.as_ref().map(Field::put)
    }
    fn take(raw: Option<Bytes>, field: &'static str) -> Result<Self, DecodeError> {
        raw.map(|raw| Field::take(raw, field)).transpose()
    }
}
impl<const N: usize> Field<Bytes> for [u8; N] {
    fn put(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
    fn take(raw: Bytes, field: &'static str) -> Result<Self, DecodeError> {
        raw.as_ref().try_into().map_err(|_| DecodeError::field(field, Why::Malformed))
    }
}

macro_rules! drawn {
    ($($ty:ty),*) => { $(
        impl Field<Bytes> for $ty {
            fn put(&self) -> Bytes { Field::put(self.as_bytes()) }
            fn take(raw: Bytes, field: &'static str) -> Result<Self, DecodeError> { Field::take(raw, field).map(Self::new) }
        }
        impl Field<Option<Bytes>> for Option<$ty> {
            fn put(&self) -> Option<Bytes> { self.as_ref().map(Field::put) }
            fn take(raw: Option<Bytes>, field: &'static str) -> Result<Self, DecodeError> { raw.map(|raw| Field::take(raw, field)).transpose() }
        }
    )* };
}
drawn!(ClusterId, StoreId, CallKey);
