//! No further connections while the process holds too much memory.
//!
//! What counts is memory the process cannot give back: not the pages of files, which the system takes away when others
//! need them. It is measured when somebody connects, at most ten times a second, and by a few counters of the system:
//! this runs in the task that owns the swarm, and a walk over the process's map takes 77 ms a GiB.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};
use perennis_rt as rt;

/// How long a measurement counts.
const FRESH: Duration = Duration::from_millis(100);

/// Refuses connections above a limit.
pub(crate) struct Behaviour {
    most_bytes: u64,
    measure: fn() -> Option<u64>,
    measured: Option<Measured>,
}

/// What the process held, and when.
#[derive(Clone, Copy)]
struct Measured {
    at: Duration,
    /// 0 where the platform does not tell.
    bytes: u64,
}

/// The process holds more memory than connections are taken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process holds {held} bytes of memory; above {most} no connection is taken")]
pub(crate) struct TooMuchMemory {
    held: u64,
    most: u64,
}

impl Behaviour {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self::measured_by(most_bytes as u64, rt::held_memory)
    }

    fn measured_by(most_bytes: u64, measure: fn() -> Option<u64>) -> Self {
        Self {
            most_bytes,
            measure,
            measured: None,
        }
    }

    fn check(&mut self, now: Duration) -> Result<(), TooMuchMemory> {
        let bytes = self.held(now);
        if bytes <= self.most_bytes {
            return Ok(());
        }
        Err(TooMuchMemory {
            held: bytes,
            most: self.most_bytes,
        })
    }

    fn held(&mut self, now: Duration) -> u64 {
        let before = self.measured;
        if let Some(measured) = before
            && now < measured.at + FRESH
        {
            return measured.bytes;
        }
        let bytes = (self.measure)().unwrap_or_default();
        self.measured = Some(Measured { at: now, bytes });
        let was_above = before.is_some_and(|before| before.bytes > self.most_bytes);
        match (was_above, bytes > self.most_bytes) {
            (false, true) => tracing::warn!(
                held = bytes,
                most = self.most_bytes,
                "the process holds too much memory: peers are refused"
            ),
            (true, false) => tracing::info!(held = bytes, "peers are taken again"),
            _ => {}
        }
        bytes
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.check(rt::monotonic()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.check(rt::monotonic()).map_err(ConnectionDenied::new)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    std::thread_local! {
        static HELD: Cell<Option<u64>> = const { Cell::new(None) };
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn connections_are_refused_above_the_limit_and_taken_again_below() {
        let mut limit = Behaviour::measured_by(1_000, || HELD.get());
        assert_eq!(limit.check(at(0)), Ok(()), "the platform does not tell");
        HELD.set(Some(1_000));
        assert_eq!(limit.check(at(100)), Ok(()), "the limit itself is allowed");
        HELD.set(Some(1_001));
        assert_eq!(limit.check(at(150)), Ok(()), "it has just been measured");
        let refused = limit.check(at(200)).map_err(|error| error.to_string());
        assert_eq!(
            refused,
            Err("the process holds 1001 bytes of memory; above 1000 no connection is taken".into())
        );
        HELD.set(Some(7));
        assert_eq!(limit.check(at(300)), Ok(()));
    }
}
