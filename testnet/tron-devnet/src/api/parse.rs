//! Reading a message from JSON as java-tron's `JsonFormat.merge` does, with its leniencies, its strictness (numbers must
//! not be quoted) and its errors, which say where they are.
//!
//! Fields that the message does not have are skipped.

use super::decode;
use super::message::{Datum, Enum, Field, Kind, Message, Schema};
use super::request::BadRequest;

/// Levels of values in fields that the message does not have; more are refused.
const MAX_SKIPPED_LEVELS: usize = 128;

/// Reads `text` as a message. `from_query` is for parameters of a GET, where everything is quoted.
pub(crate) fn read(
    text: &str,
    schema: &'static Schema,
    visible: bool,
    from_query: bool,
) -> Result<Message, BadRequest> {
    let mut reader = Reader { text, at: 0, token: "", previous: 0, visible, from_query };
    reader.advance();
    let mut message = Message::new(schema);
    reader.object(schema, &mut message)?;
    if !reader.token.is_empty() {
        return Err(reader.error(
            "Expecting the end of the stream, but there seems to be more data!  Check the input for a valid JSON format.",
        ));
    }
    Ok(message)
}

struct Reader<'a> {
    text: &'a str,
    /// Where the current token begins.
    at: usize,
    /// Empty at the end.
    token: &'a str,
    /// Where the token before it began.
    previous: usize,
    visible: bool,
    from_query: bool,
}

impl Reader<'_> {
    fn advance(&mut self) {
        self.previous = self.at;
        let behind = self.at.saturating_add(self.token.len());
        let rest = self.text.get(behind..).unwrap_or_default();
        let trimmed = rest.trim_ascii_start();
        self.at = self.text.len().saturating_sub(trimmed.len());
        self.token = first_token(trimmed);
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.token == token;
        if is_next {
            self.advance();
        }
        is_next
    }

    fn expect(&mut self, token: &str) -> Result<(), BadRequest> {
        if self.take(token) { Ok(()) } else { Err(self.error(format_args!("Expected \"{token}\"."))) }
    }

    fn object(&mut self, schema: &'static Schema, message: &mut Message) -> Result<(), BadRequest> {
        self.expect("{")?;
        while !self.take("}") {
            if self.token.is_empty() {
                return Err(self.error("Expected \"}\"."));
            }
            self.field(schema, message)?;
            while self.take(",") {
                self.field(schema, message)?;
            }
        }
        Ok(())
    }

    fn field(&mut self, schema: &'static Schema, message: &mut Message) -> Result<(), BadRequest> {
        let name = self.identifier()?;
        let Some(field) = schema.field(&name) else { return self.skip_value(0) };
        self.expect(":")?;
        if !self.take("[") {
            return self.value(field, message);
        }
        while !self.take("]") {
            self.value(field, message)?;
            self.take(",");
        }
        Ok(())
    }

    fn value(&mut self, field: &Field, message: &mut Message) -> Result<(), BadRequest> {
        let datum = match field.2.one() {
            Kind::Message(schema) => {
                let mut inner = Message::new(schema);
                self.object(schema, &mut inner)?;
                Datum::Message(inner)
            }
            _ if self.take("null") => return Ok(()),
            kind => self.primitive(kind)?,
        };
        message.put(field, datum);
        Ok(())
    }

    fn primitive(&mut self, kind: Kind) -> Result<Datum, BadRequest> {
        let datum = match kind {
            Kind::Int32 => Datum::Int(self.integer(32)?),
            Kind::Int64 => Datum::Int(self.integer(64)?),
            Kind::Bool => Datum::Int(i64::from(self.boolean()?)),
            Kind::Enum(values) => return self.enum_value(values).map(Datum::Int),
            Kind::Text => Datum::Bytes(self.string()?.into_bytes()),
            Kind::Address if self.visible => Datum::Bytes(self.base58()?),
            Kind::Name if self.visible => Datum::Bytes(self.string()?.into_bytes()),
            _ => {
                let text = self.string()?;
                Datum::Bytes(decode::hex(&text).ok_or_else(|| self.error("INVALID hex String"))?)
            }
        };
        self.advance();
        Ok(datum)
    }

    /// The value of the current token.
    fn integer(&self, bits: u32) -> Result<i64, BadRequest> {
        if self.from_query {
            let text = self.token.trim_matches('"');
            return text.parse().map_err(|_| BadRequest::number(text));
        }
        integer(self.token, bits).map_err(|why| self.error(format_args!("Couldn't parse integer: {why}")))
    }

    /// The value of the current token.
    fn boolean(&self) -> Result<bool, BadRequest> {
        if self.from_query {
            return Ok(self.token.trim_matches('"').eq_ignore_ascii_case("true"));
        }
        self.token.parse().map_err(|_| self.error("Expected \"true\" or \"false\"."))
    }

    /// The current token without its quotes.
    fn string(&self) -> Result<String, BadRequest> {
        let Some(quote) = self.token.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            return Err(self.error("Expected string."));
        };
        let inner = self.token.get(1..).and_then(|rest| rest.strip_suffix(quote));
        unescape(inner.ok_or_else(|| self.error("String missing ending quote."))?).map_err(|why| self.error(why))
    }

    /// The address that the current token is. One with a wrong checksum is a null pointer to java-tron.
    fn base58(&self) -> Result<Vec<u8>, BadRequest> {
        let address = decode::base58(&self.string()?);
        let address = address.map_err(|why| self.error(format_args!("INVALID base58 String, {why}")))?;
        address.ok_or_else(BadRequest::null)
    }

    /// Takes a name or number. Names in lower case may stand for those that begin with a capital.
    fn enum_value(&mut self, values: &Enum) -> Result<i64, BadRequest> {
        if self.token.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) {
            let number = self.integer(32)?;
            self.advance();
            return match values.1.iter().find(|(value, _)| i64::from(*value) == number) {
                Some(_) => Ok(number),
                None => {
                    Err(self
                        .error_before(format_args!("Enum type \"{}\" has no value with number {number}.", values.0)))
                }
            };
        }
        let mut name = self.identifier()?;
        if name.bytes().all(|b| b.is_ascii_lowercase())
            && let Some(first) = name.get_mut(..1)
        {
            first.make_ascii_uppercase();
        }
        match values.1.iter().find(|(_, known)| *known == name) {
            Some((value, _)) => Ok(i64::from(*value)),
            None => Err(self.error_before(format_args!("Enum type \"{}\" has no value named \"{name}\".", values.0))),
        }
    }

    fn identifier(&mut self) -> Result<String, BadRequest> {
        let is_allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '"');
        if let Some(wrong) = self.token.chars().find(|c| !is_allowed(c)) {
            return Err(self.error(format_args!("Expected identifier. -{wrong}")));
        }
        let name = self.token.replace('"', "");
        self.advance();
        Ok(name)
    }

    /// What stands after the name of an unknown field. Like java-tron, this knows no empty objects and arrays, and no
    /// fractions.
    fn skip_value(&mut self, level: usize) -> Result<(), BadRequest> {
        if level > MAX_SKIPPED_LEVELS {
            return Err(self.error("too many levels"));
        }
        let deeper = level.saturating_add(1);
        self.take(":");
        if self.take("{") {
            loop {
                self.identifier()?;
                self.skip_value(deeper)?;
                if !self.take(",") {
                    return self.expect("}");
                }
            }
        }
        if self.take("[") {
            loop {
                self.skip_value(deeper)?;
                if !self.take(",") {
                    return self.expect("]");
                }
            }
        }
        if !matches!(self.token, "null" | "true" | "false") {
            if self.token.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) {
                let why = integer(self.token, 64).err();
                if let Some(why) = why {
                    return Err(self.error(format_args!("Couldn't parse integer: {why}")));
                }
            } else {
                self.string()?;
            }
        }
        self.advance();
        Ok(())
    }

    fn error(&self, message: impl std::fmt::Display) -> BadRequest {
        self.error_at(self.at, message)
    }

    /// At the token that was just taken.
    fn error_before(&self, message: impl std::fmt::Display) -> BadRequest {
        self.error_at(self.previous, message)
    }

    fn error_at(&self, at: usize, message: impl std::fmt::Display) -> BadRequest {
        let before = self.text.get(..at).unwrap_or_default();
        let (lines, last) =
            before.rsplit_once('\n').map_or((0, before), |(lines, last)| (lines.split('\n').count(), last));
        BadRequest::format(format_args!("{}:{}: {message}", lines + 1, last.chars().count() + 1))
    }
}

/// A name, a number, a quoted text, or one character.
fn first_token(text: &str) -> &str {
    let mut chars = text.char_indices();
    let Some((_, first)) = chars.next() else { return "" };
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-');
    let end = if first.is_ascii_alphabetic() || first == '_' {
        chars.find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-')))
    } else if is_number(first) || first == '.' && text[1..].starts_with(is_number) {
        chars.find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')))
    } else if matches!(first, '"' | '\'') {
        let mut is_escaped = false;
        let last = chars.by_ref().find(|(_, c)| {
            let is_end = *c == '\n' || !is_escaped && *c == first;
            is_escaped = !is_escaped && *c == '\\';
            is_end
        });
        if last.is_some_and(|(_, c)| c == first) { chars.next() } else { last }
    } else {
        chars.next()
    };
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// Decimal, octal after `0` or hexadecimal after `0x`; or what Java says about it.
fn integer(token: &str, bits: u32) -> Result<i64, String> {
    let (sign, digits) = token.strip_prefix('-').map_or((1, token), |digits| (-1, digits));
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    let out_of_range = || format!("Number out of range for {bits}-bit signed integer: {token}");
    let value = match i128::from_str_radix(digits, radix) {
        // Java takes a second sign here.
        Ok(value) => value.checked_mul(sign).ok_or_else(out_of_range)?,
        Err(e) if matches!(e.kind(), std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow) => {
            return Err(out_of_range());
        }
        Err(_) => return Err(format!("For input string: \"{digits}\"")),
    };
    let limit = 1i128 << (bits - 1);
    if value < -limit || value >= limit {
        return Err(out_of_range());
    }
    i64::try_from(value).map_err(|_| out_of_range())
}

fn unescape(text: &str) -> Result<String, String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text.encode_utf16();
    while let Some(unit) = rest.next() {
        if unit != u16::from(b'\\') {
            units.push(unit);
            continue;
        }
        let escaped = rest.next().and_then(|unit| char::from_u32(u32::from(unit)));
        units.push(match escaped {
            Some('b') => 8,
            Some('f') => 12,
            Some('n') => 10,
            Some('r') => 13,
            Some('t') => 9,
            Some('\\') => 92,
            Some('"') => 34,
            Some('\'') => 39,
            Some('u') => {
                let digits: Vec<u16> = rest.by_ref().take(4).collect();
                let digits = String::from_utf16_lossy(&digits);
                u16::from_str_radix(&digits, 16)
                    .map_err(|_| "Invalid escape sequence: '\\u' at end of string.".to_owned())?
            }
            Some(other) => return Err(format!("Invalid escape sequence: '\\{other}'")),
            None => return Err("Invalid escape sequence: '\\' at end of string.".to_owned()),
        });
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests;
