//! A way to a server that counts the bytes that pass, in both directions, and does something at one of them.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Most bytes that are passed on at once.
const PIECE: usize = 16 << 10;

/// What is done at a byte.
type Then = Box<dyn FnOnce() + Send>;

/// A listener on a free port of loopback that passes everything on to a server. It begins closed: whoever connects waits.
pub(super) struct Tap {
    address: SocketAddr,
    state: Arc<TapState>,
}

#[derive(Default)]
struct TapState {
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    is_open: bool,
    is_gone: bool,
    /// Bytes that pass before something is done, and what.
    then: Option<(u64, Then)>,
}

impl Tap {
    /// A way to `HOST:PORT`.
    pub(super) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let state = Arc::new(TapState::default());
        let (shared, server) = (Arc::clone(&state), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.gate().is_gone {
                    return;
                }
                // A server that is dead by now is a connection that ends at once.
                let _ = shared.join(client, &server);
            }
        });
        Self { address, state }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets everything pass.
    pub(super) fn open(&self) {
        self.state.change(|gate| gate.is_open = true);
    }

    /// Lets so many bytes pass, does something, and lets the rest pass.
    pub(super) fn open_until(&self, bytes: u64, then: impl FnOnce() + Send + 'static) {
        self.state.change(|gate| {
            gate.is_open = true;
            gate.then = Some((bytes, Box::new(then)));
        });
    }

    /// Lets nothing pass any more; what was to be done and was not is forgotten. Tells whether it was done.
    pub(super) fn close(&self) -> bool {
        self.state.change(|gate| {
            gate.is_open = false;
            gate.then.take().is_none()
        })
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.state.change(|gate| gate.is_gone = true);
        // Wakes who waits for clients.
        let _ = TcpStream::connect(self.address);
    }
}

impl TapState {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Gate) -> T) -> T {
        let changed = change(&mut self.gate());
        self.changed.notify_all();
        changed
    }

    fn join(self: &Arc<Self>, client: TcpStream, server: &str) -> io::Result<()> {
        let server = TcpStream::connect(server)?;
        for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            to.set_nodelay(true)?;
            let state = Arc::clone(self);
            thread::spawn(move || {
                // One end that breaks off is the end for the other.
                let _ = state.pass(&from, &to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        Ok(())
    }

    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let length = from.read(&mut piece)?;
            if length == 0 {
                return Ok(());
            }
            let mut rest = &piece[..length];
            while !rest.is_empty() {
                let (before, behind) = rest.split_at(self.may_pass(rest.len()));
                to.write_all(before)?;
                rest = behind;
            }
        }
    }

    /// Waits until something may pass, and does what is to be done when no byte is left before it.
    fn may_pass(&self, length: usize) -> usize {
        let mut gate = self.gate();
        while !gate.is_open && !gate.is_gone {
            gate = self
                .changed
                .wait(gate)
                .unwrap_or_else(PoisonError::into_inner);
        }
        match &mut gate.then {
            Some((left, _)) if *left > 0 => {
                let most = usize::try_from(*left).unwrap_or(length).min(length);
                *left -= most as u64;
                most
            }
            // Done under the lock: once the tap is closed, it will not be done.
            Some(_) => {
                if let Some((_, then)) = gate.then.take() {
                    then();
                }
                length
            }
            None => length,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::mpsc;

    use super::*;

    #[test]
    fn bytes_pass_and_something_is_done_at_the_one_that_was_named() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Tap::to(&server.local_addr().unwrap().to_string());
        let mut client = TcpStream::connect(tap.address()).unwrap();
        client.write_all(b"hello, you").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        let (told, done) = mpsc::channel();
        let seen = accepted.try_clone().unwrap();
        tap.open_until(5, move || {
            let mut before = vec![0; 5];
            (&seen).read_exact(&mut before).unwrap();
            told.send(before).unwrap();
        });
        assert_eq!(done.recv().unwrap(), b"hello");
        let mut rest = String::new();
        accepted.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, ", you");
        assert!(tap.close(), "it was done");
    }

    #[test]
    fn what_was_not_reached_is_forgotten_when_the_tap_is_closed() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Tap::to(&server.local_addr().unwrap().to_string());
        tap.open_until(1, || panic!("nothing has passed"));
        assert!(!tap.close());
    }
}
