//! Ethernet frames as far as the switch must know them: whose they are, who speaks to whom over UDP, and how to change that so that receivers believe it.
//!
//! Layout: destination 6 | source 6 | type u16 | IPv4: version and words u8, .., fragment u16 at 6, protocol u8 at 9, checksum u16 at 10, source 4 at 12,
//! destination 4 at 16 | UDP: source u16, destination u16, length u16, checksum u16 (RFC 791, RFC 768). All big endian.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Longest frame: a usual MTU with its header.
pub(super) const FRAME_BYTES_MAX: usize = 1_514;
const ETHERNET_BYTES: usize = 14;
const UDP_BYTES: usize = 8;

/// The address of a place's card, from the last byte of its IP address: locally administered.
pub(in crate::lab) fn card(last: u8) -> [u8; 6] {
    [0x02, 0x4b, 0x49, 0x54, 0x48, last]
}

/// Whom a frame is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whom {
    /// The place with this last byte.
    One(u8),
    /// Everybody but the sender.
    All,
}

/// Whom it is for; none for a card that is not of the lab.
pub(super) fn whom(frame: &[u8]) -> Option<Whom> {
    let to = frame.first_chunk::<6>()?;
    if to[0] & 1 == 1 {
        return Some(Whom::All);
    }
    (to[..5] == card(0)[..5]).then_some(Whom::One(to[5]))
}

/// Gives a frame to another place.
pub(super) fn redirect(frame: &mut [u8], last: u8) {
    if let Some(to) = frame.first_chunk_mut::<6>() {
        *to = card(last);
    }
}

/// Both ends of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ends {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
}

/// Where UDP begins, if this is an IPv4 datagram that is not in fragments.
fn udp_at(frame: &[u8]) -> Option<usize> {
    let words = ipv4_words(frame)?;
    let ip = &frame[ETHERNET_BYTES..];
    let is_whole = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff == 0;
    let udp = ETHERNET_BYTES + words * 4;
    (ip[9] == 17 && is_whole && frame.len() >= udp + UDP_BYTES).then_some(udp)
}

fn ipv4_words(frame: &[u8]) -> Option<usize> {
    let ip = frame.get(ETHERNET_BYTES..)?;
    if frame[12..14] != [0x08, 0x00] || ip.len() < 20 || ip[0] >> 4 != 4 {
        return None;
    }
    let words = usize::from(ip[0] & 0x0f);
    (words >= 5 && ip.len() >= words * 4).then_some(words)
}

/// The ends of a datagram; none for whatever else.
pub(super) fn ends(frame: &[u8]) -> Option<Ends> {
    let udp = udp_at(frame)?;
    let address = |at: usize, port: usize| {
        let ip: [u8; 4] = [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]];
        SocketAddrV4::new(Ipv4Addr::from(ip), u16::from_be_bytes([frame[port], frame[port + 1]]))
    };
    Some(Ends { from: address(ETHERNET_BYTES + 12, udp), to: address(ETHERNET_BYTES + 16, udp + 2) })
}

/// Gives a datagram other ends. It has no UDP checksum afterwards, which IPv4 allows.
pub(super) fn readdress(frame: &mut [u8], ends: Ends) {
    let Some(udp) = udp_at(frame) else { return };
    frame[ETHERNET_BYTES + 12..ETHERNET_BYTES + 16].copy_from_slice(&ends.from.ip().octets());
    frame[ETHERNET_BYTES + 16..ETHERNET_BYTES + 20].copy_from_slice(&ends.to.ip().octets());
    frame[udp..udp + 2].copy_from_slice(&ends.from.port().to_be_bytes());
    frame[udp + 2..udp + 4].copy_from_slice(&ends.to.port().to_be_bytes());
    frame[udp + 6..udp + 8].fill(0);
    frame[ETHERNET_BYTES + 10..ETHERNET_BYTES + 12].fill(0);
    let sum = checksum(&frame[ETHERNET_BYTES..udp]);
    frame[ETHERNET_BYTES + 10..ETHERNET_BYTES + 12].copy_from_slice(&sum.to_be_bytes());
}

/// Changes one byte. Of a datagram it is one of the payload, without a checksum that would tell: what encrypts must notice. Of other IPv4 packets it is
/// one that a checksum covers. Whatever else has no checksum, and is left alone: false.
pub(super) fn corrupt(frame: &mut [u8], draw: u64) -> bool {
    let (at, flip) = ((draw >> 8) as usize, (draw as u8).max(1));
    if let Some(udp) = udp_at(frame) {
        let payload = udp + UDP_BYTES;
        if frame.len() == payload {
            return false;
        }
        let length = frame.len() - payload;
        frame[payload + at % length] ^= flip;
        frame[udp + 6..udp + 8].fill(0);
        return true;
    }
    if ipv4_words(frame).is_none() {
        return false;
    }
    let length = frame.len() - ETHERNET_BYTES;
    frame[ETHERNET_BYTES + at % length] ^= flip;
    true
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A datagram from one place's port to another's.
    pub(crate) fn datagram(from: (u8, u16), to: (u8, u16), payload: &[u8]) -> Vec<u8> {
        let mut frame = [card(to.0), card(from.0)].concat();
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend(((28 + payload.len()) as u16).to_be_bytes());
        frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, from.0, 10, 77, 0, to.0]);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend(((8 + payload.len()) as u16).to_be_bytes());
        frame.extend([0xab, 0xcd]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_datagram_gets_other_ends_and_a_true_header() {
        let mut frame = datagram((100, 4_000), (1, 7_600), b"hello");
        assert_eq!(whom(&frame), Some(Whom::One(1)));
        let read = ends(&frame).unwrap();
        assert_eq!((read.from.to_string(), read.to.to_string()), ("10.77.0.100:4000".to_owned(), "10.77.0.1:7600".to_owned()));
        let other = Ends { from: "10.77.0.103:20001".parse().unwrap(), to: "10.77.0.2:7600".parse().unwrap() };
        readdress(&mut frame, other);
        redirect(&mut frame, 2);
        assert_eq!((ends(&frame), whom(&frame)), (Some(other), Some(Whom::One(2))));
        assert_eq!(checksum(&frame[14..34]), 0, "the header's checksum is right");
        assert_eq!(frame[40..42], [0, 0], "no checksum of the payload");
        assert!(frame.ends_with(b"hello"));
    }

    #[test]
    fn what_is_no_datagram_has_no_ends() {
        let mut fragment = datagram((1, 1), (2, 2), b"x");
        fragment[20] = 0x20;
        assert_eq!(ends(&fragment), None);
        assert_eq!(ends(&[0; 20]), None);
        assert_eq!(whom(&[0xff; 14]), Some(Whom::All));
        assert_eq!(whom(&[0x00; 14]), None, "a card of somebody else");
        for length in 0..43 {
            // Whatever was cut off, nothing is read beyond the end.
            let _ = ends(&datagram((1, 1), (2, 2), b"x")[..length]);
        }
    }

    #[test]
    fn corruption_changes_one_byte_that_only_encryption_covers() {
        let whole = datagram((1, 1), (2, 2), &[7; 100]);
        for draw in [0, 1, u64::MAX, 0x1234_5678] {
            let mut frame = whole.clone();
            assert!(corrupt(&mut frame, draw));
            let changed = (42..whole.len()).filter(|at| frame[*at] != whole[*at]).count();
            assert_eq!((changed, &frame[..40], &frame[40..42]), (1, &whole[..40], &[0, 0][..]));
        }
        let mut arp = whole;
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert!(!corrupt(&mut arp, 5), "nothing would notice it there");
    }
}
