SET app.user_id = :'id';
SELECT (SELECT count(*) FROM public.user_profiles), (SELECT count(*) FROM public.documents),
       (SELECT md5(string_agg(title, ',' ORDER BY id)) FROM public.documents);
