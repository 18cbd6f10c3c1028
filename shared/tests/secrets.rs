//! Secrets cannot be copied, printed or compared by accident, and erase themselves.

use perennis_shared::did::Identity;
use perennis_shared::keywrap::Seeds;
use perennis_shared::sign::SigningKey;
use zeroize::ZeroizeOnDrop;

/// Fails to compile if the type has the trait: then both implementations below apply to it.
macro_rules! assert_lacks {
    ($($secret:ty: $($forbidden:path),+);+ $(;)?) => {
        $({
            trait AmbiguousIf<Has> {
                fn check() {}
            }
            impl<T: ?Sized> AmbiguousIf<()> for T {}
            $({
                struct Has;
                impl<T: ?Sized + $forbidden> AmbiguousIf<Has> for T {}
            })+
            <$secret as AmbiguousIf<_>>::check();
        })+
    };
}

#[test]
fn secrets_are_neither_copied_nor_printed() {
    assert_lacks! {
        SigningKey: Clone, std::fmt::Debug, std::fmt::Display, PartialEq;
        Identity: Clone, std::fmt::Debug, std::fmt::Display, PartialEq;
        Seeds: Clone, std::fmt::Debug, std::fmt::Display, PartialEq;
    }
}

#[test]
fn keys_erase_themselves() {
    fn erases<T: ZeroizeOnDrop>() {}
    erases::<SigningKey>();
    erases::<ed25519_dalek::SigningKey>();
}
