/** The configuration files of the servers, as text. */

export interface NginxSettings {
  /** Where nginx keeps everything of its own, with `htpasswd` and the certificates. */
  readonly dir: string;
  readonly root: string;
  /** Set when nginx starts as root: its workers must be able to read below `root`. */
  readonly user: string | undefined;
  readonly ports: { readonly http: number; readonly https: number; readonly clientTls: number };
  readonly git:
    | { readonly root: string; readonly socket: string; readonly backend: string }
    | undefined;
}

export function nginxConfig({ dir, root, user, ports, git }: NginxSettings): string {
  const auth = `auth_basic "test"; auth_basic_user_file ${dir}/htpasswd;`;
  const tls = `ssl_certificate ${dir}/server.pem; ssl_certificate_key ${dir}/server.key;`;
  const locations = `
      root ${dir}/nowhere;
      location /files/ { alias ${root}/; }
      location /html/ { alias ${root}/; autoindex on; }
      location /json/ { alias ${root}/; autoindex on; autoindex_format json; }
      location /private/ { alias ${root}/; autoindex on; ${auth} }
      location /slow/ { alias ${root}/; limit_rate 64k; limit_rate_after 4k; }
      location /norange/ { alias ${root}/; max_ranges 0; }
      ${git === undefined ? "" : gitLocations(git, auth)}`;
  return `
    ${user === undefined ? "" : `user ${user};`}
    daemon off;
    worker_processes 2;
    pid ${dir}/nginx.pid;
    error_log ${dir}/error.log;
    events { worker_connections 512; }
    http {
      log_format requests escape=json '{"method":"$request_method","uri":"$request_uri","status":$status,"bytes":$body_bytes_sent,"range":"$http_range"}';
      access_log ${dir}/access.log requests;
      client_body_temp_path ${dir}/body;
      proxy_temp_path ${dir}/proxy;
      fastcgi_temp_path ${dir}/fastcgi;
      uwsgi_temp_path ${dir}/uwsgi;
      scgi_temp_path ${dir}/scgi;
      client_max_body_size 0;
      types { text/html html; application/json json; }
      default_type application/octet-stream;
      server { listen 127.0.0.1:${ports.http}; ${locations} }
      server { listen 127.0.0.1:${ports.https} ssl; ${tls} ${locations} }
      server {
        listen 127.0.0.1:${ports.clientTls} ssl; ${tls}
        ssl_client_certificate ${dir}/ca.pem; ssl_verify_client on;
        ${locations}
      }
    }
  `;
}

function gitLocations(git: NonNullable<NginxSettings["git"]>, auth: string): string {
  const backend = `
        fastcgi_pass unix:${git.socket};
        fastcgi_buffering off;
        fastcgi_read_timeout 300s;
        fastcgi_param SCRIPT_FILENAME ${git.backend};
        fastcgi_param GIT_PROJECT_ROOT ${git.root};
        fastcgi_param GIT_HTTP_EXPORT_ALL "1";
        fastcgi_param GIT_PROTOCOL $http_git_protocol;
        fastcgi_param PATH_INFO $repository;
        fastcgi_param QUERY_STRING $query_string;
        fastcgi_param REQUEST_METHOD $request_method;
        fastcgi_param CONTENT_TYPE $content_type;
        fastcgi_param CONTENT_LENGTH $content_length;
        fastcgi_param REMOTE_USER $remote_user;
        fastcgi_param REMOTE_ADDR $remote_addr;
        fastcgi_param GIT_CONFIG_COUNT 2;
        fastcgi_param GIT_CONFIG_KEY_0 uploadpack.allowFilter;
        fastcgi_param GIT_CONFIG_VALUE_0 true;
        fastcgi_param GIT_CONFIG_KEY_1 uploadpack.allowAnySHA1InWant;
        fastcgi_param GIT_CONFIG_VALUE_1 true;`;
  return `
      location ~ ^/git(?<repository>/.*)$ { ${backend} }
      location ~ ^/git-private(?<repository>/.*)$ { ${auth} ${backend} }`;
}

export interface ApacheSettings {
  readonly dir: string;
  readonly root: string;
  readonly port: number;
  readonly isRoot: boolean;
}

export function apacheConfig({ dir, root, port, isRoot }: ApacheSettings): string {
  const modules = ["mpm_event", "authz_core", "autoindex", "alias", "dir", "mime"];
  return `
ServerRoot ${dir}
ServerName 127.0.0.1
Listen 127.0.0.1:${port}
PidFile ${dir}/apache.pid
Mutex file:${dir} default
ErrorLog ${dir}/error.log
${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join("\n")}
${isRoot ? "User www-data\nGroup www-data" : ""}
TypesConfig /dev/null
DocumentRoot ${root}
Alias /plain/ ${root}/
Alias /fancy/ ${root}/
<Directory ${root}>
  Options Indexes FollowSymLinks
  Require all granted
</Directory>
<Location /plain/>
  IndexOptions -FancyIndexing
</Location>
<Location /fancy/>
  IndexOptions FancyIndexing HTMLTable NameWidth=*
</Location>
`;
}

export function sshdConfig({ dir, port }: { dir: string; port: number }): string {
  return `
ListenAddress 127.0.0.1
Port ${port}
HostKey ${dir}/host
PidFile ${dir}/sshd.pid
AuthorizedKeysFile ${dir}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PrintMotd no
AcceptEnv GIT_PROTOCOL
Subsystem sftp internal-sftp
LogLevel ERROR
`;
}
