// Of ComfyUI's page, what the pack takes. Its own types are not published for every version that the pack works with.

declare module "*/scripts/api.js" {
  export const api: any;
}

declare module "*/scripts/app.js" {
  export const app: any;
}

declare var LiteGraph: any;
