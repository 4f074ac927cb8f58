SELECT name FROM d1_migrations WHERE name = '0001_tasks.sql'
