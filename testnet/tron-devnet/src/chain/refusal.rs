//! Why a transaction was not accepted: the codes and messages that a full node answers a broadcast with.

/// `Return.response_code` of the protocol. The names, misspelt ones included, are what clients compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A signature is missing, malformed, or not of a key that may sign.
    SigError,
    /// What the transaction wants to do is not possible.
    ContractValidateError,
    /// It could not be executed.
    ContractExeError,
    /// The payer cannot pay for bandwidth or the fees around it.
    BandwithError,
    /// It is already pending or in a block.
    DupTransactionError,
    /// Its reference block is not in this chain.
    TaposError,
    /// More than 500 KiB.
    TooBigTransactionError,
    /// Its expiration is not after the head, or more than a day after it.
    TransactionExpirationError,
    /// Too many transactions are waiting.
    ServerBusy,
    /// Anything else.
    OtherError,
}

impl Code {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SigError => "SIGERROR",
            Self::ContractValidateError => "CONTRACT_VALIDATE_ERROR",
            Self::ContractExeError => "CONTRACT_EXE_ERROR",
            Self::BandwithError => "BANDWITH_ERROR",
            Self::DupTransactionError => "DUP_TRANSACTION_ERROR",
            Self::TaposError => "TAPOS_ERROR",
            Self::TooBigTransactionError => "TOO_BIG_TRANSACTION_ERROR",
            Self::TransactionExpirationError => "TRANSACTION_EXPIRATION_ERROR",
            Self::ServerBusy => "SERVER_BUSY",
            Self::OtherError => "OTHER_ERROR",
        }
    }
}

/// A transaction was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Refusal {
    /// What kind of refusal.
    pub code: Code,
    /// For people, in java-tron's words.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// [`Code::ContractValidateError`] with java-tron's prefix.
    pub(crate) fn invalid(message: impl std::fmt::Display) -> Self {
        Self::new(Code::ContractValidateError, format!("Contract validate error : {message}"))
    }

    /// [`Code::SigError`] with java-tron's prefix.
    pub(crate) fn signature(message: impl std::fmt::Display) -> Self {
        Self::new(Code::SigError, format!("Validate signature error: {message}"))
    }

    /// A sum that java-tron's signed 64-bit numbers cannot hold.
    pub(crate) fn overflow() -> Self {
        Self::invalid("long overflow")
    }

    pub(crate) fn bandwidth() -> Self {
        Self::new(Code::BandwithError, "Account resource insufficient error.")
    }

    pub(crate) fn expired() -> Self {
        Self::new(Code::TransactionExpirationError, "Transaction expired")
    }
}
