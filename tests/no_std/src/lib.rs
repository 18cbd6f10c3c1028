//! A module for a machine without std that calls into `perennis-shared`.
//!
//! It brings the panic handler and the allocator that std would bring. If any crate below links std, there are two
//! panic handlers and the compiler refuses the module.
#![no_std]

use core::panic::PanicInfo;

use dlmalloc::GlobalDlmalloc;
use perennis_shared as _;

#[cfg(feature = "intruder")]
use bytes as _;

#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
