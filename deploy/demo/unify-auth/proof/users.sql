SELECT email, username, password_hash, role = 'admin' FROM auth.users;
