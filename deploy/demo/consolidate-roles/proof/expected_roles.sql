SELECT email, CASE
  WHEN role IN ('super_admin', 'system_admin') THEN 'admin'
  WHEN role IN ('org_owner', 'org_admin') THEN 'owner'
  WHEN role IN ('department_head', 'team_lead') THEN 'manager'
  WHEN role IN ('senior_editor', 'editor') THEN 'editor'
  WHEN role IN ('author', 'contributor') THEN 'contributor'
  ELSE 'viewer' END
FROM public.user_profiles;
