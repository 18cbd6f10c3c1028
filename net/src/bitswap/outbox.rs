//! What is to be sent to one peer, and when.

use std::collections::VecDeque;

use perennis_shared::{
    cid::cid_len,
    limits::{BITSWAP_MESSAGE_BYTES, BITSWAP_PAYLOAD_BLOCKS, BITSWAP_WANTS},
    wire::bitswap::{Message, Payload, Presence, Want},
};

use super::server::weight;

/// Messages handed to a connection and not written yet: one is written, one is ready.
const MESSAGES: usize = 2;
/// Words of presence that wait for one peer. A peer that asks more and takes no answers gets no more.
const PRESENCES: usize = 8_192;
/// Room in a message for everything but blocks, in bytes.
const SMALL_BYTES: usize = BITSWAP_MESSAGE_BYTES / 8;
/// Bytes of an entry beyond its CID, at most.
const ENTRY_BYTES: usize = 32;

/// Wants and answers for one peer. Wants go first: they are small, and somebody waits for them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    wants: VecDeque<Want>,
    presences: VecDeque<Presence>,
    payload: VecDeque<Payload>,
    /// Weight of the payload in the messages handed over, oldest first.
    handed_over: VecDeque<usize>,
}

impl Outbox {
    pub(super) fn want(&mut self, want: Want) {
        self.wants.push_back(want);
    }

    pub(super) fn answer(&mut self, payload: Vec<Payload>, presences: Vec<Presence>) {
        self.payload.extend(payload);
        let room = PRESENCES.saturating_sub(self.presences.len());
        self.presences.extend(presences.into_iter().take(room));
    }

    /// The next message, when the connection can take one and there is anything to say.
    pub(super) fn next(&mut self, payload_bytes: usize) -> Option<Message> {
        if self.handed_over.len() >= MESSAGES {
            return None;
        }
        let mut message = Message::default();
        let mut room = SMALL_BYTES;
        while message.wants.len() < BITSWAP_WANTS
            && let Some(want) = self
                .wants
                .pop_front_if(|want| fits(&mut room, cid_len(&want.cid)))
        {
            message.wants.push(want);
        }
        let presences = &mut self.presences;
        while let Some(word) = presences.pop_front_if(|word| fits(&mut room, cid_len(&word.cid))) {
            message.presences.push(word);
        }
        let mut held = 0;
        while message.payload.len() < BITSWAP_PAYLOAD_BLOCKS
            && let Some(payload) = self
                .payload
                .pop_front_if(|next| held == 0 || held + weight(next) <= payload_bytes)
        {
            held += weight(&payload);
            message.payload.push(payload);
        }
        if message.is_empty() {
            return None;
        }
        self.handed_over.push_back(held);
        Some(message)
    }

    /// The oldest message has been written: so much weight of payload.
    pub(super) fn sent(&mut self) -> usize {
        self.handed_over.pop_front().unwrap_or_default()
    }

    /// Forgets everything: so much weight of payload is not sent.
    pub(super) fn clear(&mut self) -> usize {
        let handed_over: usize = self.handed_over.iter().sum();
        let waiting: usize = self.payload.iter().map(weight).sum();
        *self = Self::default();
        handed_over + waiting
    }
}

fn fits(room: &mut usize, cid_bytes: usize) -> bool {
    let left = room.checked_sub(cid_bytes + ENTRY_BYTES);
    *room = left.unwrap_or(*room);
    left.is_some()
}
