SELECT lower(email), username, password_hash, is_admin FROM legacy.users
UNION ALL
SELECT email, username, password_hash, role = 'admin' FROM auth.users;
