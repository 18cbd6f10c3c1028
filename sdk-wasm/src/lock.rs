//! One writer at a time among the tabs and workers of an origin, by a Web Lock.
//!
//! The browser frees the lock when its holder dies, so a crashed tab blocks nobody. Where a page has no Web Locks
//! (a page served over plain HTTP from another machine), there is nothing to take and the work goes ahead.
//!
//! Source: Web Locks API, sections 2.5 and 3.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// How long a change waits for another tab's change to end, in milliseconds.
const WAIT_MILLIS: u32 = 30_000;

#[wasm_bindgen]
extern "C" {
    type Scope;
    #[wasm_bindgen(method, getter)]
    fn navigator(this: &Scope) -> Option<Navigator>;

    type Navigator;
    #[wasm_bindgen(method, getter)]
    fn locks(this: &Navigator) -> Option<LockManager>;

    type LockManager;
    #[wasm_bindgen(method, catch)]
    fn request(
        this: &LockManager,
        name: &str,
        options: &Object,
        held: &Function,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_name = AbortSignal)]
    type Signal;
    #[wasm_bindgen(static_method_of = Signal, js_class = "AbortSignal")]
    fn timeout(millis: u32) -> Signal;
}

/// Holds the lock until it is dropped.
pub(crate) struct Guard {
    release: Option<Function>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            // The function resolves a promise: it does not throw.
            drop(release.call0(&JsValue::UNDEFINED));
        }
    }
}

/// Takes the lock `name`, waiting for its holder to let go.
///
/// # Errors
/// The browser's reason, where the lock was not free within 30 s.
pub(crate) async fn acquire(name: &str) -> Result<Guard, JsValue> {
    let scope: Scope = js_sys::global().unchecked_into();
    let Some(locks) = scope.navigator().and_then(|navigator| navigator.locks()) else {
        return Ok(Guard { release: None });
    };
    let options = Object::new();
    Reflect::set(&options, &"signal".into(), &Signal::timeout(WAIT_MILLIS))?;

    let release = Rc::new(RefCell::new(None));
    let mut on_granted = None;
    let granted = Promise::new(&mut |resolve, _| on_granted = Some(resolve));
    let held = {
        let release = Rc::clone(&release);
        Closure::once_into_js(move |_lock: JsValue| {
            let until_released =
                Promise::new(&mut |resolve, _| *release.borrow_mut() = Some(resolve));
            if let Some(on_granted) = on_granted {
                drop(on_granted.call0(&JsValue::UNDEFINED));
            }
            until_released
        })
    };
    let requested = locks.request(name, &options, held.unchecked_ref())?;
    // The request settles first only if it fails: while the lock is held, it is pending.
    JsFuture::from(Promise::race(&Array::of2(&granted, &requested))).await?;
    // Once the lock is let go the request resolves; a rejection after that says nothing new.
    let release = release.borrow_mut().take();
    Ok(Guard { release })
}
