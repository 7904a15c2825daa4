//! Azure Key Vault as key store of kes.
