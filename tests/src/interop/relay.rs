//! A way to a server of UDP that loses datagrams, and does something after so many.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Most bytes of one datagram.
const DATAGRAM: usize = 64 << 10;
/// How long a thread waits before it looks whether the relay is gone.
const LOOK: Duration = Duration::from_millis(200);

/// What is done at a datagram.
pub(super) type Then = Box<dyn FnOnce() + Send>;

/// A socket on a free port of loopback that passes datagrams between its clients and a server, but each so-many-th.
pub(super) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    /// One of so many is lost.
    loses_one_of: u64,
    counts: Mutex<Counts>,
    is_gone: AtomicBool,
}

struct Counts {
    passed: u64,
    lost: u64,
    then: Option<(u64, Then)>,
}

impl Relay {
    /// A way to a server; `then` is done once so many datagrams have come, in either direction.
    ///
    /// # Errors
    /// No port is free.
    pub(super) fn to(
        server: SocketAddr,
        loses_one_of: u64,
        then: Option<(u64, Then)>,
    ) -> io::Result<Self> {
        let listener = bound()?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            server,
            loses_one_of,
            counts: Mutex::new(Counts {
                passed: 0,
                lost: 0,
                then,
            }),
            is_gone: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || shared.listen(&listener));
        Ok(Self { address, state })
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Datagrams that were lost.
    pub(super) fn lost(&self) -> u64 {
        let counts = self.state.counts.lock();
        counts.unwrap_or_else(PoisonError::into_inner).lost
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.is_gone.store(true, Ordering::Release);
    }
}

impl State {
    fn listen(self: Arc<Self>, listener: &UdpSocket) {
        let mut ways: HashMap<SocketAddr, UdpSocket> = HashMap::new();
        self.receive(listener, |datagram, client| {
            let way = match ways.entry(client) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let way = bound()?;
                    let (back, to_client) = (way.try_clone()?, listener.try_clone()?);
                    let state = Arc::clone(&self);
                    thread::spawn(move || {
                        state.receive(&back, |datagram, _| {
                            to_client.send_to(datagram, client).map(drop)
                        });
                    });
                    new.insert(way)
                }
            };
            way.send_to(datagram, self.server).map(drop)
        });
    }

    /// Hands on what comes to a socket until the relay is gone.
    fn receive(
        &self,
        socket: &UdpSocket,
        mut pass: impl FnMut(&[u8], SocketAddr) -> io::Result<()>,
    ) {
        let mut datagram = vec![0; DATAGRAM];
        while !self.is_gone.load(Ordering::Acquire) {
            let Ok((length, from)) = socket.recv_from(&mut datagram) else {
                continue;
            };
            if self.takes() {
                // What the system does not take is lost as well.
                let _ = pass(&datagram[..length], from);
            }
        }
    }

    /// Counts one; whether it is passed on.
    fn takes(&self) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.passed += 1;
        let passed = counts.passed;
        let then = counts.then.take_if(|(at, _)| passed >= *at);
        let is_lost = counts.passed.is_multiple_of(self.loses_one_of);
        counts.lost += u64::from(is_lost);
        drop(counts);
        if let Some((_, then)) = then {
            then();
        }
        !is_lost
    }
}

fn bound() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}
