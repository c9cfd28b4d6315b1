//! Enums whose values have a name in the protocol's definition.

/// Declares a protobuf enum with the names the HTTP API prints.
macro_rules! named_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$value_meta:meta])* $variant:ident = $number:literal => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
        #[repr(i32)]
        pub enum $name {
            $($(#[$value_meta])* $variant = $number,)*
        }

        impl $name {
            /// The name in the protocol's definition, as the HTTP API prints it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
