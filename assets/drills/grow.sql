-- Rows that came in between two moments. Deterministic: every value follows from the row's number.
-- In braces: `from` and `to` are timestamps, `<table>_lo` and `<table>_hi` the first and last new id of a table (ids start at 1).
-- The parts do not need each other's rows while the constraints are not there yet; the last one joins them.
INSERT INTO users (id, email, full_name, country, created_at)
SELECT g,
       'user' || g || '@' || (ARRAY['example.com', 'example.org', 'example.net'])[1 + g % 3],
       (ARRAY['Ada', 'Bruno', 'Chiara', 'Dmitri', 'Elif', 'Femi', 'Greta', 'Hana', 'Ines', 'Jonas'])[1 + (hashint8extended(g, 1) & 1048575) % 10]
           || ' ' || (ARRAY['Abel', 'Berg', 'Costa', 'Duran', 'Evans', 'Fischer', 'Grant', 'Horn'])[1 + (hashint8extended(g, 2) & 1048575) % 8],
       (ARRAY['DE', 'FR', 'IT', 'GB', 'US', 'CH', 'ES'])[1 + (hashint8extended(g, 3) & 1048575) % 7],
       {from}::timestamptz + ({to}::timestamptz - {from}::timestamptz) * ((g - {users_lo} + 0.5) / ({users_hi} - {users_lo} + 1))
FROM generate_series({users_lo}, {users_hi}) g;
INSERT INTO accounts (id, user_id, iban, currency, status, opened_at)
SELECT g,
       1 + (hashint8extended(g, 11) & 1099511627775) % {users_hi},
       'DE' || lpad((g % 97)::text, 2, '0') || lpad(((hashint8extended(g, 12) & 1099511627775) % 100000000)::text, 8, '0') || lpad(g::text, 10, '0'),
       (ARRAY['EUR', 'EUR', 'EUR', 'USD', 'CHF', 'GBP'])[1 + (hashint8extended(g, 13) & 1048575) % 6],
       CASE WHEN g % 50 = 0 THEN 'closed' WHEN g % 33 = 0 THEN 'frozen' ELSE 'open' END,
       {from}::timestamptz + ({to}::timestamptz - {from}::timestamptz) * ((g - {accounts_lo} + 0.5) / ({accounts_hi} - {accounts_lo} + 1))
FROM generate_series({accounts_lo}, {accounts_hi}) g;
INSERT INTO ofx_imports (id, account_id, object_key, bank, status, received_at)
SELECT g,
       1 + (hashint8extended(g, 21) & 1099511627775) % {accounts_hi},
       'statements/import-' || lpad(g::text, 6, '0') || '.ofx',
       (ARRAY['Nordbank', 'Sparhaus', 'Banca Verde', 'Alpina', 'First Harbour'])[1 + (hashint8extended(g, 22) & 1048575) % 5],
       'processed',
       {from}::timestamptz + ({to}::timestamptz - {from}::timestamptz) * ((g - {imports_lo} + 0.2) / ({imports_hi} - {imports_lo} + 1))
FROM generate_series({imports_lo}, {imports_hi}) g;
INSERT INTO audit_log (id, user_id, actor, action, details, at)
SELECT g,
       1 + (hashint8extended(g, 31) & 1099511627775) % {users_hi},
       (ARRAY['web', 'mobile', 'api', 'ingest-worker'])[1 + (hashint8extended(g, 32) & 1048575) % 4],
       (ARRAY['login', 'view_balance', 'import', 'categorise', 'export', 'transfer'])[1 + (hashint8extended(g, 33) & 1048575) % 6],
       jsonb_build_object('ip', '10.' || g % 250 || '.' || g % 199 || '.' || g % 97, 'request', md5(g::text)),
       {from}::timestamptz + ({to}::timestamptz - {from}::timestamptz) * ((g - {audit_lo} + 0.5) / ({audit_hi} - {audit_lo} + 1))
FROM generate_series({audit_lo}, {audit_hi}) g;
-- part
INSERT INTO transactions (id, account_id, import_id, amount_cents, category, description, booked_on, created_at)
SELECT g,
       1 + (hashint8extended(coalesce(i, g), 21) & 1099511627775) % {accounts_hi},
       i,
       CASE WHEN g % 9 = 0 THEN 1 ELSE -1 END * (1 + (hashint8extended(g, 41) & 1099511627775) % 250000),
       (ARRAY['groceries', 'rent', 'salary', 'transport', 'insurance', 'leisure', 'utilities'])[1 + (hashint8extended(g, 42) & 1048575) % 7],
       (ARRAY['Card payment', 'Direct debit', 'Transfer', 'Standing order'])[1 + (hashint8extended(g, 43) & 1048575) % 4] || ' ' || substr(md5(g::text), 1, 10),
       at::date, at
FROM (SELECT g,
             CASE WHEN g % 5 < 3 THEN {imports_lo} + ((g - {transactions_lo}) * ({imports_hi} - {imports_lo} + 1)) / ({transactions_hi} - {transactions_lo} + 1) END AS i,
             {from}::timestamptz + ({to}::timestamptz - {from}::timestamptz) * ((g - {transactions_lo} + 0.5) / ({transactions_hi} - {transactions_lo} + 1)) AS at
      FROM generate_series({transactions_lo}, {transactions_hi}) g) s;
-- part
UPDATE accounts a SET balance_cents = balance_cents + s.cents
FROM (SELECT account_id, sum(amount_cents) AS cents FROM transactions WHERE id >= {transactions_lo} GROUP BY account_id) s
WHERE a.id = s.account_id;
UPDATE ofx_imports i SET row_count = s.n
FROM (SELECT import_id, count(*) AS n FROM transactions WHERE id >= {transactions_lo} AND import_id IS NOT NULL GROUP BY import_id) s
WHERE i.id = s.import_id;
SELECT setval(pg_get_serial_sequence('users', 'id'), {users_hi}),
       setval(pg_get_serial_sequence('accounts', 'id'), {accounts_hi}),
       setval(pg_get_serial_sequence('ofx_imports', 'id'), {imports_hi}),
       setval(pg_get_serial_sequence('audit_log', 'id'), {audit_hi}),
       setval(pg_get_serial_sequence('transactions', 'id'), {transactions_hi}),
       setval('payment_reference_seq', 1000000 + {transactions_hi});
