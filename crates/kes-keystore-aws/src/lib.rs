//! AWS Secrets Manager and AWS KMS as key stores of kes.
