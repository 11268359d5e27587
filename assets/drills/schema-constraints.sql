-- Keys, checks, indexes and views, after the first load. Two parts that do not wait for each other, split at the marker,
-- run side by side; what joins both parts follows the second marker.
ALTER TABLE transactions ADD CONSTRAINT transactions_pkey PRIMARY KEY (id),
    ADD CONSTRAINT transactions_amount_nonzero CHECK (amount_cents <> 0);
CREATE INDEX transactions_account_idx ON transactions (account_id, created_at);
CREATE INDEX transactions_import_idx ON transactions (import_id) WHERE import_id IS NOT NULL;
-- part
ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY (id),
    ADD CONSTRAINT users_email_key UNIQUE (email),
    ADD CONSTRAINT users_country_check CHECK (length(country) = 2);
ALTER TABLE accounts ADD CONSTRAINT accounts_pkey PRIMARY KEY (id),
    ADD CONSTRAINT accounts_iban_key UNIQUE (iban),
    ADD CONSTRAINT accounts_status_check CHECK (status IN ('open', 'frozen', 'closed')),
    ADD CONSTRAINT accounts_currency_check CHECK (currency IN ('EUR', 'USD', 'CHF', 'GBP')),
    ADD CONSTRAINT accounts_user_fkey FOREIGN KEY (user_id) REFERENCES users (id);
CREATE INDEX accounts_user_idx ON accounts (user_id);
ALTER TABLE ofx_imports ADD CONSTRAINT ofx_imports_pkey PRIMARY KEY (id),
    ADD CONSTRAINT ofx_imports_object_key_key UNIQUE (object_key),
    ADD CONSTRAINT ofx_imports_row_count_check CHECK (row_count >= 0),
    ADD CONSTRAINT ofx_imports_account_fkey FOREIGN KEY (account_id) REFERENCES accounts (id);
CREATE INDEX ofx_imports_received_idx ON ofx_imports (received_at);
ALTER TABLE audit_log ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id),
    ADD CONSTRAINT audit_log_user_fkey FOREIGN KEY (user_id) REFERENCES users (id);
CREATE INDEX audit_log_at_idx ON audit_log (at);
-- part
ALTER TABLE transactions
    ADD CONSTRAINT transactions_account_fkey FOREIGN KEY (account_id) REFERENCES accounts (id),
    ADD CONSTRAINT transactions_import_fkey FOREIGN KEY (import_id) REFERENCES ofx_imports (id);
CREATE VIEW account_overview AS
    SELECT a.id, a.iban, a.currency, a.status, a.balance_cents, u.full_name, u.country
    FROM accounts a JOIN users u ON u.id = a.user_id;
CREATE MATERIALIZED VIEW daily_volume AS
    SELECT booked_on, category, count(*) AS transactions, sum(abs(amount_cents)) AS volume_cents
    FROM transactions GROUP BY booked_on, category;
CREATE UNIQUE INDEX daily_volume_key ON daily_volume (booked_on, category);
GRANT SELECT ON ALL TABLES IN SCHEMA public TO fc_readonly;
