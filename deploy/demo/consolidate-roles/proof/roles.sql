SELECT email, role FROM public.user_profiles;
