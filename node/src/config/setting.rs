//! A setting, and the tables in which settings are declared.
//!
//! One entry of [`table!`] is a setting: its field, type and default, its key, how it is written, and what it means. The struct, its
//! [`Default`], the list of settings and the table of the operations guide are made from the entries, so none can lack a part.

use super::Config;
use super::value::{Given, Refusal};

/// One setting.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its key: table, dot, name.
    pub key: &'static str,
    /// What it is for, with units and bounds.
    pub meaning: &'static str,
    pub(super) set: fn(&mut Config, &Given) -> Result<(), Refusal>,
    pub(super) show: fn(&Config) -> String,
}

/// A struct of settings.
pub(super) trait Table: Sized {
    /// Where it is in a configuration.
    fn of(config: &Config) -> &Self;

    /// The same, to be changed.
    fn of_mut(config: &mut Config) -> &mut Self;

    /// Adds its settings to a list, and then those of the tables in it.
    fn list(settings: &mut Vec<Setting>);
}

/// Declares a table: `struct NAME at config.PATH`, in it the settings as
/// `FIELD: TYPE = DEFAULT, KEY as SYNTAX, MEANING;`. Behind it stand the `tables` in it, and what is `beside` the settings.
macro_rules! table {
    (
        $(#[$about:meta])*
        pub struct $Name:ident at $config:ident $(. $path:ident)* {
            $(
                $field:ident: $type:ty = $default:expr,
                $key:literal as $syntax:expr,
                $meaning:literal;
            )*
        }
        $(tables { $( $(#[$about_table:meta])* $table:ident: $Table:ty, )* })?
        $(beside { $( $(#[$about_other:meta])* $other:ident: $Other:ty, )* })?
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $Name {
            $(
                #[doc = concat!("`", $key, "`: ", $meaning, ".")]
                pub $field: $type,
            )*
            $($( $(#[$about_table])* pub $table: $Table, )*)?
            $($( $(#[$about_other])* pub $other: $Other, )*)?
        }

        impl Default for $Name {
            fn default() -> Self {
                Self {
                    $( $field: $default, )*
                    $($( $table: <$Table>::default(), )*)?
                    $($( $other: <$Other>::default(), )*)?
                }
            }
        }

        impl $crate::config::setting::Table for $Name {
            fn of($config: &$crate::config::Config) -> &Self {
                &(*$config)$(.$path)*
            }

            fn of_mut($config: &mut $crate::config::Config) -> &mut Self {
                &mut (*$config)$(.$path)*
            }

            fn list(settings: &mut Vec<$crate::config::setting::Setting>) {
                use $crate::config::syntax::Syntax;
                settings.extend([$(
                    $crate::config::setting::Setting {
                        key: $key,
                        meaning: $meaning,
                        set: |config, given| {
                            Self::of_mut(config).$field = Syntax::<$type>::parse(&$syntax, given)?;
                            Ok(())
                        },
                        show: |config| Syntax::<$type>::show(&$syntax, &Self::of(config).$field),
                    },
                )*]);
                $($( <$Table>::list(settings); )*)?
            }
        }
    };
}

pub(super) use table;
